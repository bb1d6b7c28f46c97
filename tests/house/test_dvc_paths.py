"""DVC sees what changes behind a path that a setting names: the real dvc.yaml, with commands that compute nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from anime_lora.config.path_settings import OPTIONAL
from anime_lora.config.section import NONE
from tests.house.doors import ROOT


class Pipeline:
    """One stage of the repository's dvc.yaml in a folder of its own, where all it reads is there."""

    def __init__(self, root: Path, stage: str) -> None:
        self.root, self.stage = root, stage
        shutil.copy(ROOT / "params.yaml", root)
        document = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
        definition = document["stages"][stage]
        outs = [*definition["outs"], *(name for metric in definition.get("metrics", []) for name in metric)]
        definition["cmd"] = [f"{sys.executable} make.py {' '.join(outs)}"]
        (root / "make.py").write_text(
            "import sys\nfrom pathlib import Path\nfor path in map(Path, sys.argv[1:]):\n"
            "    path = path if path.suffix else path / 'record.json'\n"
            "    path.parent.mkdir(parents=True, exist_ok=True)\n    path.write_text('{}')\n"
        )
        with (root / "dvc.yaml").open("w", encoding="utf-8") as stream:
            YAML().dump({"stages": {stage: definition}}, stream)
        for dep in definition["deps"]:
            if not dep.startswith("${"):
                # a name that `check` knows to be the stage's own
                self.write(dep if "." in dep.rpartition("/")[2] else f"{dep}/metadata.jsonl", "a")
        self.write(NONE, "none")
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
        for setting in OPTIONAL:
            self.set(setting, NONE)

    def write(self, name: str, text: str) -> None:
        """A file, with the folders above it."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def set(self, setting: str, value: str) -> None:
        """Change one value in params.yaml."""
        yaml = YAML()
        document = yaml.load((self.root / "params.yaml").read_text(encoding="utf-8"))
        section, key = setting.split(".")
        document[section][key] = value
        with (self.root / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(document, stream)

    def runs(self) -> bool:
        """Whether `dvc repro` runs the stage."""
        command = [sys.executable, "-m", "dvc", "repro", "--single-item", self.stage]
        ran = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        return f"Running stage '{self.stage}'" in ran.stdout


@pytest.mark.parametrize("setting", OPTIONAL)
def test_a_file_that_changes_where_a_setting_points_to_reruns_the_stage(setting: str, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, setting.partition(".")[0].replace("_", "-"))
    assert pipeline.runs()
    pipeline.write("mine/1.png", "an image")
    assert not pipeline.runs(), "nothing names the folder yet"
    pipeline.set(setting, "mine")
    assert pipeline.runs()
    pipeline.write("mine/1.png", "another image")
    assert pipeline.runs()
    assert not pipeline.runs()


def test_a_model_that_changes_in_its_folder_reruns_the_training(tmp_path: Path) -> None:
    """Though it is no dep by name: `check`, which runs each time, writes the hashes of local models."""
    pipeline = Pipeline(tmp_path, "train")
    pipeline.write("mine/unet/weights", "a model")
    pipeline.set("base.model", "mine")
    check = [sys.executable, "-m", "anime_lora", "check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def runs() -> bool:
        subprocess.run(check, cwd=tmp_path, env=environment, check=True)
        return pipeline.runs()

    assert runs()
    assert not runs()
    pipeline.write("mine/unet/weights", "another model")
    assert runs()
    assert not runs()

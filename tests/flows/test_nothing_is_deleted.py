"""What a person put into a stage's folder is there after `dvc repro` and the flows refused it."""

import sys

import pytest

from tests.data.conftest import image
from tests.support.project import Project

DVC = (sys.executable, "-m", "dvc")


@pytest.mark.parametrize(("key", "name", "value"), [
    ("ingest.sources", "data/ingest/mine/1.png", ["faces", "data/ingest/mine"]),
    ("ingest.sources", "data/resize/mine/1.png", ["faces", "data/resize/mine"]),
    ("validate_sample.second_adapter", "data/validate-sample/mine.png", "data/validate-sample/mine.png"),
    ("evaluate.champion", "data/evaluate/scores.json", "data/evaluate/scores.json"),
])  # fmt: skip
def test_a_file_that_a_setting_names_is_refused_before_dvc_empties_the_folder(
    project: Project, key: str, name: str, value: object
) -> None:
    """By the whole chain, by one stage of it and by the flow; DVC itself sees a dep inside the stage's outputs."""
    file, params = project.root / name, (project.root / "params.yaml").read_bytes()
    project.run(*DVC, "repro", "organize")
    file.parent.mkdir(parents=True, exist_ok=True)
    image(50).save(file, "PNG")
    before = file.read_bytes()
    try:
        project.set(key, value)
        for command in (
            (*DVC, "repro"), (*DVC, "repro", "ingest"), (sys.executable, "-m", "flows", "run"),
            (sys.executable, "-m", "anime_lora", "plan"),
        ):  # fmt: skip
            ran = project.run(*command, check=False)
            assert ran.returncode != 0, command
            ours = (f"{key}." in ran.stdout or f"{key} = " in ran.stdout) and "lies in data/" in ran.stdout
            stage = key.split(".", maxsplit=1)[0].replace("_", "-")
            dvcs = f"defined as both a dependency and an output in stage: {stage}" in ran.stdout
            assert ours or (command[:3] == DVC and dvcs), ran.stdout
            assert file.read_bytes() == before, command
    finally:
        (project.root / "params.yaml").write_bytes(params)
        file.unlink(missing_ok=True)


def test_a_flow_does_not_start_over_a_file_that_no_setting_names(project: Project) -> None:
    """DVC would find the folder changed, and empty it."""
    project.run(*DVC, "repro", "organize")
    file = project.root / "data/ingest/store/mine.png"
    image(51).save(file)
    said = project.run(sys.executable, "-m", "flows", "run", check=False)
    assert said.returncode != 0
    assert "data/ingest/store/mine.png is no output of ingest" in said.stdout
    assert file.is_file()
    file.unlink()
    assert "Stage 'ingest' didn't change" in project.run(*DVC, "repro", "organize").stdout

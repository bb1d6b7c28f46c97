"""`dvc.yaml`, the flow, the doors and `params.yaml` say the same."""

import ast
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import Params
from anime_lora.config.path_settings import OPTIONAL, SETTINGS
from anime_lora.config.section import NONE
from tests.house.doors import ROOT, STAGES, UNWATCHED, doors
from tests.house.imports import LIBRARY, closure, rooms

CHECK = "check"


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


DAG = document("dvc.yaml")["stages"]


def test_the_stages_are_the_missions_seven_in_order() -> None:
    assert tuple(DAG) == (CHECK, *STAGES)
    assert tuple(door.stage for door in doors()) == STAGES


def test_before_them_every_setting_that_names_a_path_is_checked() -> None:
    """DVC empties outputs before it starts a stage: what comes first must be a stage without outputs to lose."""
    assert DAG[CHECK]["cmd"] == "python -m anime_lora check"
    assert set(DAG[CHECK]["params"]) == {setting.split(".")[0] for setting in SETTINGS}
    assert DAG[CHECK]["outs"] == [paths.CHECKED.as_posix(), paths.MODELS.as_posix()]
    assert DAG[CHECK]["always_changed"]
    assert paths.CHECKED.as_posix() in DAG[STAGES[0]]["deps"]


def test_what_the_stages_write_is_known_for_each() -> None:
    """The folders that are emptied, in the order of the stages."""
    assert [folder.name for folder in paths.WRITES] == list(STAGES)


def test_the_flow_calls_the_stages_of_dvc_in_order() -> None:
    tree = ast.parse((ROOT / "flows" / "pipeline.py").read_text(encoding="utf-8"))
    chain = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "CHAIN")
    assert [name.id.replace("_", "-") for name in chain.elts] == [name for name in DAG if name != CHECK]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_one_command_of_the_door(stage: str) -> None:
    assert DAG[stage]["cmd"] == f"python -m anime_lora {stage}"


@pytest.mark.parametrize("door", doors(), ids=STAGES)
def test_every_section_a_stage_reads_is_declared_and_none_else(door: Any) -> None:
    assert set(DAG[door.stage]["params"]) == set(door.sections) - UNWATCHED


def test_every_section_of_the_params_file_is_read_by_a_stage_or_the_nightly_run() -> None:
    read = {section for door in doors() for section in door.sections}
    assert read | {"retrain"} == set(document("params.yaml")) == {name.rstrip("_") for name in Params.model_fields}


@pytest.mark.parametrize("door", doors(), ids=STAGES)
def test_the_code_deps_of_a_stage_are_the_rooms_it_imports(door: Any) -> None:
    code = [dep for dep in DAG[door.stage]["deps"] if dep.startswith(f"{LIBRARY}/")]
    assert code == rooms(door.module), f"write these below the deps of {door.stage} in dvc.yaml: {rooms(door.module)}"


def test_the_imports_read_from_the_source_are_what_a_process_loads() -> None:
    code = (
        "import sys, anime_lora.data.resize; from pathlib import Path;"
        "print(*sorted(Path(m.__file__).relative_to(Path.cwd()).as_posix() for n, m in sys.modules.items()"
        " if n.startswith('anime_lora')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in ran.stdout.split() if not name.endswith("__init__.py")}
    assert loaded
    assert loaded <= {path.as_posix() for path in closure("anime_lora.data.resize")}


def test_a_path_in_the_settings_is_a_dep_by_its_name_where_dvc_can_depend_on_it() -> None:
    """Of the rest `check` hashes what is no hub id; of `ingest.sources` templates reach single entries."""
    deps = {dep for stage in DAG.values() for dep in stage.get("deps", []) if dep.startswith("${")}
    assert deps == {"${ingest.sources[0]}", *(f"${{{setting}}}" for setting in OPTIONAL)}
    assert {setting for setting in SETTINGS if setting not in OPTIONAL} == {
        "ingest.sources", "base.model", "validate_sample.controlnet", "evaluate.encoders",
    }  # fmt: skip
    assert (ROOT / NONE).is_file()


def test_no_dep_is_a_path_that_a_setting_names_now() -> None:
    """It would stay when the setting moves."""
    named = {value for section in document("params.yaml").values() for value in section.values() if _is_path(value)}
    assert named
    for name, stage in DAG.items():
        assert not named & set(stage.get("deps", [])), name


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "/" in value


def test_what_a_stage_reads_is_written_by_one_before_it_or_lies_in_the_repository() -> None:
    written: list[str] = []
    for name, stage in DAG.items():
        for dep in stage.get("deps", []):
            if dep.startswith("data/") and not any(dep == out or dep.startswith(f"{out}/") for out in written):
                assert (ROOT / dep).exists(), f"{name} reads {dep}, which no earlier stage writes"
        outs = [*stage.get("outs", []), *stage.get("metrics", [])]
        written += [next(iter(out)) if isinstance(out, dict) else out for out in outs]


def test_nothing_a_stage_writes_is_in_git() -> None:
    ran = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {path.split("/")[1] for path in ran.stdout.splitlines()}
    assert not tracked & set(STAGES)

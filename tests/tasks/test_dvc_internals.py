"""DVC's own wording and files, asked of DVC itself: what these tests do not find, the code would not either."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tasks.dvc_internals import MESSAGES, RWLOCK, file_md5, forget_dead_processes, stage_action, unchanged_in
from tasks.errors import StageFailedError

STAGE = """stages:
  note:
    cmd: echo noted > note
    deps: [room]
    outs: [note]
"""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DVC's list in a project of one stage."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    Path("dvc.yaml").write_text(STAGE)
    Path(".dvcignore").write_text("__pycache__\n*.pyc\n")
    Path("room/inner/__pycache__").mkdir(parents=True)
    for name in ("b.py", "a.py", "inner/é.py", "inner/__pycache__/é.pyc"):
        Path("room", name).write_text(name)
    return tmp_path / RWLOCK


def dvc(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def repro() -> str:
    return dvc("repro", "note").stderr


def hold(held: Path, number: int, age: float = 0) -> str:
    one = {"pid": number, "cmd": "dvc repro train"}
    held.write_text(
        json.dumps({"write": {str(Path("note").resolve()): one}, "read": {str(Path("a").resolve()): [one]}})
    )
    when = held.stat().st_mtime - age
    os.utime(held, (when, when))
    return held.read_text()


def test_a_number_that_another_program_has_now_blocks_nobody(held: Path) -> None:
    """As after a container was killed: a list of yesterday, and a process of today that is no DVC."""
    hold(held, os.getpid(), age=86400)
    assert "is busy" in repro()
    hold(held, os.getpid(), age=86400)
    forget_dead_processes()
    assert repro() == ""
    assert Path("note").is_file()


def test_half_a_list_is_removed(held: Path) -> None:
    """As after a kill in the middle of writing it, or on a disk that was full."""
    held.write_text("")
    assert "JSON structure is corrupted" in repro()
    forget_dead_processes()
    assert not held.exists()
    assert repro() == ""


def test_who_is_at_work_stays_in_the_list(held: Path) -> None:
    before = hold(held, os.getpid())
    forget_dead_processes()
    assert held.read_text() == before


def test_without_a_list_there_is_nothing_to_do(tmp_path: Path) -> None:
    forget_dead_processes(tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("held")
def test_dvc_says_what_it_did_with_a_stage_in_one_of_three_messages() -> None:
    """Executed, then unchanged, then restored from the cache; and the plan says what is unchanged."""
    actions = [stage_action("note", dvc("repro", "note").stdout.splitlines()) for _ in range(2)]
    assert unchanged_in(dvc("repro", "--dry").stdout) == ["note"]
    Path("dvc.lock").unlink()
    Path("note").unlink()
    assert unchanged_in(dvc("repro", "--dry").stdout) == []
    actions.append(stage_action("note", dvc("repro", "note").stdout.splitlines()))
    assert actions == ["executed", "unchanged", "restored"]
    assert set(actions) == set(MESSAGES.values())
    with pytest.raises(StageFailedError, match="dvc did not say what it did with note: something else"):
        stage_action("note", ["something else"])


@pytest.mark.usefixtures("held")
def test_a_hash_is_the_one_that_dvc_writes() -> None:
    """Of a folder and of a file."""
    repro()
    stage = YAML(typ="safe", pure=True).load(Path("dvc.lock").read_text())["stages"]["note"]
    written = {one["path"]: one["md5"] for one in (*stage["deps"], *stage["outs"])}
    assert {name: file_md5(Path(name)) for name in ("room", "note")} == written
    assert file_md5(Path("nowhere")) is None

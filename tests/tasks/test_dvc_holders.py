"""Who stands in DVC's list of holders and is dead: DVC itself would wait for them every night."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.dvc_holders import HOLDERS, forget_dead

STAGE = """stages:
  note:
    cmd: echo noted > note
    outs: [note]
"""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DVC's list in a project of one stage."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    Path("dvc.yaml").write_text(STAGE)
    return tmp_path / HOLDERS


def repro() -> str:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "note"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


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
    forget_dead()
    assert repro() == ""
    assert Path("note").is_file()


def test_half_a_list_is_removed(held: Path) -> None:
    """As after a kill in the middle of writing it, or on a disk that was full."""
    held.write_text("")
    assert "JSON structure is corrupted" in repro()
    forget_dead()
    assert not held.exists()
    assert repro() == ""


def test_who_is_at_work_stays_in_the_list(held: Path) -> None:
    before = hold(held, os.getpid())
    forget_dead()
    assert held.read_text() == before


def test_without_a_list_there_is_nothing_to_do(tmp_path: Path) -> None:
    forget_dead(tmp_path / "none")
    assert not list(tmp_path.iterdir())

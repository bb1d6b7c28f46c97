"""Why a run has something to do: what differs from what dvc.lock says of the last one."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.champion.why import code_changes, data_changes

OLD = hashlib.md5(b"old", usedforsecurity=False).hexdigest()
STAGES = {
    "ingest": {
        "deps": [{"path": "faces", "nfiles": 1, "size": 3}, {"path": "s3://bucket/faces", "etag": "a"}],
        "outs": [{"path": "data/ingest"}],
    },
    "validate-sample": {
        "deps": [
            {"path": "data/ingest/manifest.jsonl", "md5": OLD},
            {"path": "people", "nfiles": 1, "size": 3, "md5": "a.dir"},
            {"path": "second.safetensors", "size": 3, "md5": OLD},
            {"path": "anime_lora/errors.py", "md5": OLD},
        ]
    },
}


def test_what_is_generated_from_is_a_reason_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders by number and size, files by content; what a stage makes, and code, are other reasons."""
    monkeypatch.chdir(tmp_path)
    for name in ("faces/one.png", "people/one.png", "second.safetensors"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("old")
    assert data_changes(STAGES) == []
    Path("faces/one.png").unlink()
    Path("people/two.png").write_text("new")
    Path("second.safetensors").write_text("new")
    assert data_changes(STAGES) == ["1 fewer files in faces", "1 more files in people", "other second.safetensors"]
    assert data_changes(STAGES, but="ingest") == ["1 more files in people", "other second.safetensors"]
    Path("people/two.png").unlink()
    Path("people/one.png").write_text("other")
    assert data_changes(STAGES, but="ingest") == ["other files in people", "other second.safetensors"]


def test_a_changed_line_in_a_room_is_a_reason_and_bytecode_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the lock file that the installed DVC writes: its hash of a folder is none of its promises."""
    monkeypatch.chdir(tmp_path)
    files = {"b.py": "x = 1\n", "a/c.py": "y = 2\n", "a.py": "", "a/page.html": "z", "a/__pycache__/c.pyc": "1"}
    for name, text in files.items():
        (room := Path("anime_lora/training") / name).parent.mkdir(parents=True, exist_ok=True)
        room.write_text(text)
    Path("dvc.yaml").write_text("stages:\n  train:\n    cmd: echo\n    deps: [anime_lora/training]\n")
    for command in (["init", "-q", "--no-scm"], ["repro", "-q"]):
        Path(".dvcignore").write_text("__pycache__\n*.pyc\n")
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True)
    stages = YAML(typ="safe", pure=True).load(Path("dvc.lock").read_text())["stages"]
    assert code_changes(stages) == []
    Path("anime_lora/training/a/__pycache__/c.pyc").write_text("2")
    assert code_changes(stages) == []
    Path("anime_lora/training/a/c.py").write_text("y = 3\n")
    assert code_changes(stages) == ["code of train"]

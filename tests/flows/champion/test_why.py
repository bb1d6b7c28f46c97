"""Why a run has something to do: what differs from what dvc.lock says of the last one."""

import hashlib
from pathlib import Path

import pytest

from flows.champion.why import data_changes

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

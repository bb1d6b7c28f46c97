"""When a run is due, and why it has something to do: what differs from what dvc.lock says of the last one."""

import hashlib
import json
from pathlib import Path

import pytest

from anime_lora.config.section import Retrain
from flows.champion.triggers import changes_since_decision, code_changes, data_changes, reason_to_wait
from flows.runtime.dvc import locked_stages
from tasks.dvc_internals import file_md5
from tests.support.clone import Clone

OLD = hashlib.md5(b"old", usedforsecurity=False).hexdigest()
SETTINGS = Retrain(min_new_images=5, max_age_days=30, min_free_disk_gb=0)
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


@pytest.mark.parametrize(("images", "age", "due"), [
    (0, 100.0, False), (4, 1.0, False), (5, 1.0, True), (1, 30.0, True), (1, None, True), (1, 29.9, False),
])  # fmt: skip
def test_few_images_wait_until_they_are_enough_or_old(images: int, age: float | None, due: bool) -> None:
    """Five are enough at once, one after thirty days, none never; the first run does not wait."""
    assert (reason_to_wait(images, SETTINGS, age) is None) == due


def test_what_waits_says_for_what() -> None:
    """The message names the count, the limit and the age; without new images it is three words."""
    assert reason_to_wait(0, SETTINGS, 1.0) == "no new data"
    assert reason_to_wait(2, SETTINGS, 1.0) == (
        "2 new images wait for retrain.min_new_images = 5 or 30 days of age (1.0 days since the last retraining)"
    )
    never = SETTINGS.model_copy(update={"max_age_days": None})
    assert "days of age" not in str(reason_to_wait(2, never, 400.0))


def test_what_is_generated_from_is_a_reason_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders by number and size, files by content; what a stage writes, and code, are other reasons."""
    monkeypatch.chdir(tmp_path)
    stages = locked_stages(json.dumps({"stages": STAGES}))
    for name in ("faces/one.png", "people/one.png", "second.safetensors"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("old")
    assert data_changes(stages) == []
    Path("faces/one.png").unlink()
    Path("people/two.png").write_text("new")
    Path("second.safetensors").write_text("new")
    assert data_changes(stages) == ["1 fewer files in faces", "1 more files in people", "other second.safetensors"]
    assert data_changes(stages, without="ingest") == ["1 more files in people", "other second.safetensors"]
    Path("people/two.png").unlink()
    Path("people/one.png").write_text("other")
    assert data_changes(stages, without="ingest") == ["other files in people", "other second.safetensors"]


@pytest.mark.parametrize("dep", ["anime_lora/data", "anime_lora/data/ingest.py"])
def test_code_is_a_reason_when_its_bytes_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dep: str) -> None:
    """A room as well as a file; bytecode beside it is none."""
    monkeypatch.chdir(tmp_path)
    room, file = Path("anime_lora/data"), Path("anime_lora/data/ingest.py")
    (room / "__pycache__").mkdir(parents=True)
    file.write_text("old")
    stages = locked_stages(json.dumps({"stages": {"ingest": {"deps": [{"path": dep, "md5": file_md5(Path(dep))}]}}}))
    (room / "__pycache__" / "ingest.pyc").write_text("compiled")
    assert code_changes(stages) == []
    file.write_text("new")
    assert code_changes(stages) == ["code of ingest"]


def test_a_setting_is_due_until_a_decision_is_committed_with_it(clone: Clone) -> None:
    """The stages rewrite dvc.lock on a night that then fails; a decision says when a setting was tried."""
    assert changes_since_decision() == ["first run"]
    clone.decide("promoted", "v1.0.0")
    assert changes_since_decision() == []
    clone.rank(8, 16)
    clone.commit("Train a smaller LoRA")
    clone.rank(8, 8)
    assert changes_since_decision() == ["train.rank 16 → 8"]
    clone.commit("Keep what `dvc repro` wrote")
    assert changes_since_decision() == ["train.rank 16 → 8"]
    clone.decide("rejected", "v1.0.0")
    assert changes_since_decision() == []

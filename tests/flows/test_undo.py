"""What a killed or failed run left uncommitted, and how it is put back; Git is real, nothing is trained."""

import logging
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from anime_lora.data.source_diff import SourceChanges
from anime_lora.files import sha256_file, write_bytes
from flows import retrain
from flows.champion import history, record, store, triggers
from flows.champion.compare import Verdict
from flows.champion.preflight import PreflightError
from flows.runtime import overrides
from flows.runtime.process import CommandFailedError
from tasks.dvc_process import StageFailedError
from tests.support.clone import ENTRY, LOCKED, Clone

ADAPTER = store.FOLDER / store.ADAPTER


@pytest.mark.parametrize("decided", [True, False])
def test_a_failed_run_goes_back_from_its_override_until_it_is_committed(
    clone: Clone, decided: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Afterwards a failure is one of sending. DVC is not here, so it cannot go back: the reason is still the run's."""
    logging.getLogger("prefect").propagate = True
    reason = StageFailedError("the lamp went out")

    def night(*_: object) -> None:
        Path("dvc.lock").write_text(LOCKED.format(rank=8))
        if decided:
            clone.commit("promoted")
            overrides.keep()
        raise reason

    for name in ("mark_orphans", "committable", "preflight", "ready", "load_params", "_rename", "get_run_logger"):
        monkeypatch.setattr(retrain, name, MagicMock())
    monkeypatch.setattr(overrides, "check_params", MagicMock())
    monkeypatch.setattr(triggers, "look", MagicMock())
    monkeypatch.setattr(retrain, "_night", night)
    with pytest.raises(StageFailedError) as error:
        retrain.retrain.fn(overrides=["train.rank=8"])
    assert error.value is reason
    rank = 8 if decided else 16
    assert Path("params.yaml").read_text() == f"train:\n  rank: {rank}\n"
    assert Path("dvc.lock").read_text() == LOCKED.format(rank=rank)
    assert ("data/ is as the override left it" in caplog.text) != decided


@pytest.mark.parametrize("half", [True, False], ids=["half", "whole"])
def test_a_lora_that_was_never_promoted_leaves_the_champions_folder(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """A run killed before `dvc add` leaves a folder that Git does not look into, and the next run may be Skipped."""
    asked: list[str] = []
    monkeypatch.setattr(store, "bring", lambda: asked.append("brought"))
    clone.decide("promoted", "v1.0.0")
    write_bytes(ADAPTER, b"reigns")
    promoted = replace(ENTRY, adapter=sha256_file(ADAPTER))
    monkeypatch.setattr(history, "read", lambda: [promoted])
    record.undo()
    assert asked == []
    write_bytes(store.HALF / store.ADAPTER if half else ADAPTER, b"was not tried")
    record.undo()
    assert asked == ["brought"]
    assert not store.HALF.exists()


def test_what_the_first_run_published_when_it_was_killed_is_no_champion(clone: Clone) -> None:
    write_bytes(ADAPTER, b"was not tried")
    record.settle()
    assert not store.FOLDER.exists()


def test_a_killed_run_goes_back_from_its_override_with_all_its_stages_made(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else data/ and dvc.lock were the override's for as long as nothing is new."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(record, "dvc", lambda *words: asked.append(words))
    monkeypatch.setattr(overrides, "check_params", MagicMock())
    set_once = overrides.overridden(["train.rank=8"])
    set_once.__enter__()
    clone.write("dvc.lock", LOCKED.format(rank=8))
    record.settle()
    assert clone.git("status", "--porcelain") == ""
    assert asked == [("checkout", "--force")]
    assert not overrides.pending()


def test_a_decision_that_cannot_be_committed_is_not_left_behind(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """All day, the folder would show a decision that the next night takes away; the reason is still the run's."""
    clone.decide("promoted", "v1.0.0")
    monkeypatch.setattr(record, "remote", lambda: None)
    monkeypatch.setattr(store, "bring", lambda: None)
    monkeypatch.setattr(retrain, "judge", lambda: Verdict(True, "better", [], "b" * 64))
    monkeypatch.setattr(retrain, "promote", lambda: clone.write(str(store.POINTER), "outs: v2.0.0\n"))
    work = triggers.Work(True, "train forced", SourceChanges([], [], []), [])
    real = record.git

    def git(*words: str, cure: str = "") -> str:
        if words[0] == "commit":
            raise CommandFailedError("git commit: the hook says no")
        return real(*words, cure=cure)

    monkeypatch.setattr(record, "git", git)
    with pytest.raises(CommandFailedError, match="the hook says no"):
        retrain._conclude("by hand", work, [])
    assert clone.git("status", "--porcelain", "models") == ""
    assert [entry.version for entry in history.read()] == ["v1.0.0"]


def test_an_override_is_checked_like_the_file(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that is killed it would be in params.yaml at the next start, which would refuse it every night."""
    for name in ("mark_orphans", "committable", "ready", "load_params"):
        monkeypatch.setattr(retrain, name, MagicMock())
    monkeypatch.setattr(overrides, "check_params", MagicMock())
    seen: list[str] = []

    def preflight() -> None:
        seen.append(Path("params.yaml").read_text())
        if "rank: 8" in seen[-1]:
            raise PreflightError("no such source")

    monkeypatch.setattr(retrain, "preflight", preflight)
    with pytest.raises(PreflightError, match="no such source"):
        retrain.retrain.fn(overrides=["train.rank=8"])
    assert len(seen) == 2
    assert clone.git("status", "--porcelain", "--untracked-files=no") == ""

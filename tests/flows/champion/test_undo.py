"""What a killed or failed run left uncommitted, and how it is put back; Git and DVC are real, nothing is trained."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from anime_lora.config import paths
from anime_lora.data.source_diff import SourceChanges
from anime_lora.files import write_bytes
from flows.champion import record, store
from flows.champion.compare import Verdict
from flows.champion.history import read_history
from flows.champion.triggers import Work
from flows.champion.undo import discard_undecided_override, undo_on_failure, undo_uncommitted
from flows.errors import CommandFailedError, StageFailedError
from flows.runtime import overrides
from flows.runtime.dvc import DVC_LOCK
from tests.support.clone import ENTRY, Clone, locked

ADAPTER = store.FOLDER / store.ADAPTER


@pytest.mark.parametrize("decided", [True, False])
def test_a_failed_run_goes_back_from_its_override_until_it_is_committed(
    clone: Clone, decided: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Afterwards a failure is one of sending. DVC cannot go back here: the run still ends with its own reason."""
    clone.push("[remote", ".dvc/config")
    before = Path("params.yaml").read_bytes()
    logging.getLogger("prefect").propagate = True
    reason = StageFailedError("the lamp went out")
    with (
        pytest.raises(StageFailedError) as error,
        overrides.override_params(["train.rank=8"]),
        discard_undecided_override(),
    ):
        changed = Path("params.yaml").read_bytes()
        clone.write("dvc.lock", locked(8))
        if decided:
            record.commit(ENTRY, (paths.PARAMS, DVC_LOCK), "Promoted v1.0.0")
        raise reason
    assert error.value is reason
    assert changed != before
    assert Path("params.yaml").read_bytes() == (changed if decided else before)
    assert DVC_LOCK.read_text() == locked(8 if decided else 16)
    assert ("data/ is as the override left it" in caplog.text) != decided
    assert clone.status() == ""


@pytest.mark.parametrize("half", [True, False], ids=["half", "whole"])
def test_a_lora_that_was_never_promoted_leaves_the_champions_folder(clone: Clone, half: bool) -> None:
    """A run killed before `dvc add` leaves a folder that Git does not look into, and the next run may be Skipped."""
    clone.promote("v1.0.0", b"the champion")
    before = ADAPTER.stat()
    undo_uncommitted()
    assert ADAPTER.stat() == before, "the champion is left alone"
    ADAPTER.unlink()
    write_bytes(store.UNFINISHED / store.ADAPTER if half else ADAPTER, b"never tested")
    undo_uncommitted()
    assert ADAPTER.read_bytes() == b"the champion"
    assert not store.UNFINISHED.exists()


def test_what_the_first_run_published_when_it_was_killed_is_no_champion(clone: Clone) -> None:
    clone.train(b"never tested")
    store.publish()
    record.settle_earlier_runs()
    assert not store.FOLDER.exists()
    assert not store.POINTER.exists()


def test_a_killed_run_goes_back_from_its_override_with_the_outputs_of_its_stages(clone: Clone) -> None:
    """Else data/ and dvc.lock were the override's for as long as nothing is new."""
    repro = [sys.executable, "-m", "dvc", "repro", "--quiet", "train"]
    subprocess.run(repro, check=True)
    clone.commit("Train")
    killed = overrides.override_params(["train.rank=8"])
    killed.__enter__()
    subprocess.run(repro, check=True)
    assert "rank: 8" in (paths.TRAIN / "rank").read_text()
    assert clone.status() != ""
    record.settle_earlier_runs()
    assert clone.status() == ""
    assert "rank: 16" in (paths.TRAIN / "rank").read_text()
    assert not overrides.is_pending()


def test_a_decision_that_cannot_be_committed_is_not_left_behind(clone: Clone) -> None:
    """All day, the folder would show a decision that the next run takes away; the run ends with its own reason."""
    clone.promote("v1.0.0", b"the champion")
    clone.hook(".git", "pre-commit", "echo the hook says no >&2; exit 1")
    clone.train(b"a better one")
    work = Work(True, "train forced", SourceChanges([], [], []), [])
    with pytest.raises(CommandFailedError, match="the hook says no"), undo_on_failure():
        store.publish()
        record.record_decision(Verdict(True, "better", (), store.trained_sha256()), "by hand", work, [])
    assert clone.status() == ""
    assert [entry.version for entry in read_history()] == ["v1.0.0"]
    assert ADAPTER.read_bytes() == b"the champion"

"""What a rollback does where a remote is away or Git is on no branch; Git and DVC are real, nothing is trained."""

import logging
from pathlib import Path

import pytest

from anime_lora.data.source_diff import SourceChanges
from flows.champion import record, store
from flows.champion.compare import Verdict
from flows.champion.triggers import Work
from flows.errors import CommandFailedError, PreflightError, RunError
from flows.rollback import rollback
from flows.runtime import notify
from tests.support.clone import Clone
from tests.support.nightly import webhook


@pytest.fixture
def two_champions(clone: Clone) -> Clone:
    """Both promoted and sent, the second one present."""
    for version in ("v1.0.0", "v2.0.0"):
        clone.promote(version, version.encode())
        record.settle_earlier_runs()
    return clone


def test_a_rollback_on_no_branch_is_refused(clone: Clone) -> None:
    """Its commit would be on none."""
    for version in ("v1.0.0", "v2.0.0"):
        clone.decide("promoted", version)
    clone.git("switch", "--quiet", "--detach")
    head = clone.git("rev-parse", "HEAD")
    with pytest.raises(PreflightError, match="Git is on no branch: `git switch main`"):
        rollback("too dark")
    assert (clone.git("rev-parse", "HEAD"), clone.sent("refs/tags")) == (head, [])


@pytest.mark.parametrize(("store_path", "error"), [
    ("../nowhere/store", PreflightError), ("../blocked", CommandFailedError),
])  # fmt: skip
def test_a_rollback_does_not_wait_for_dvcs_remote(
    two_champions: Clone, caplog: pytest.LogCaptureFixture, store_path: str, error: type[RunError]
) -> None:
    """The old champion is here, and was sent when it was promoted; a new decision still waits for its data."""
    clone = two_champions
    Path("../blocked").mkdir()
    Path("../blocked/files").write_text("a file, where DVC needs a folder")
    clone.push(f"[core]\n    remote = store\n['remote \"store\"']\n    url = ../{store_path}\n", ".dvc/config")
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.rollback"):
        assert rollback("too dark").version == "v1.0.0"
    assert "what DVC's remote lacks" in caplog.text
    assert (store.FOLDER / store.ADAPTER).read_bytes() == b"v1.0.0"
    assert clone.git("log", "-1", "--format=%s", "@{upstream}") == "Roll back to v1.0.0: too dark"
    work = Work(True, "train forced", SourceChanges([], [], []), [])
    with pytest.raises(error):
        record.record_decision(Verdict(False, "worse", (), "b" * 64), "by hand", work, [])


def test_a_rollback_that_cannot_be_sent_is_notified(two_champions: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed, so another LoRA is champion here."""
    two_champions.git("remote", "set-url", "origin", "../nowhere.git")
    with webhook() as (address, received):
        monkeypatch.setenv(notify.SETTING, address)
        with pytest.raises(CommandFailedError, match=r"rolled back to v1\.0\.0, not sent: git push"):
            rollback("too dark")
    text = "anime-lora rolled back: v2.0.0 goes, v1.0.0 is back: too dark"
    assert received == [{"event": "rolled back", "text": text}]

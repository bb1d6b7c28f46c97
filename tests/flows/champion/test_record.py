"""What a night leaves in Git, and what the next one makes of it; Git is real, nothing is trained."""

import logging
import subprocess
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from anime_lora.data.source_diff import SourceChanges
from anime_lora.files import write_bytes
from flows import retrain
from flows import rollback as rolling
from flows.champion import history, record, store, triggers
from flows.champion.compare import Verdict
from flows.champion.preflight import PreflightError
from flows.rollback import rollback
from flows.runtime import notify
from flows.runtime.process import CommandFailedError
from tests.support.clone import ENTRY, Clone

ADAPTER = store.FOLDER / store.ADAPTER


def test_a_setting_is_due_until_a_decision_is_committed_with_it(clone: Clone) -> None:
    """The stages rewrite dvc.lock on a night that then fails; a decision says when a setting was tried."""
    assert triggers.setting_changes() == ["first run"]
    clone.decide("promoted", "v1.0.0")
    assert triggers.setting_changes() == []
    clone.rank(8, 16)
    clone.commit("Train a smaller LoRA")
    clone.rank(8, 8)
    assert triggers.setting_changes() == ["train.rank 16 → 8"]
    clone.commit("Keep what `dvc repro` wrote")
    assert triggers.setting_changes() == ["train.rank 16 → 8"]
    clone.decide("rejected", "v1.0.0")
    assert triggers.setting_changes() == []


def test_a_refused_push_sends_no_tag_and_after_a_rebase_the_tag_is_on_the_branch(clone: Clone) -> None:
    """A tag of a commit that is on no branch would name a version nobody can reach."""
    clone.decide("promoted", "v1.0.0")
    record.settle()
    sent = clone.sent("refs/tags")
    assert sent == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    clone.another("colleague").push("A better README")
    clone.decide("promoted", "v2.0.0")
    with pytest.raises(CommandFailedError, match=r"promoted v2\.0\.0, not sent: .*git pull --rebase"):
        record.deliver(replace(ENTRY, version="v2.0.0"))
    with pytest.raises(PreflightError, match=r"others pushed 1 commits, and 1 .* not sent: `git pull --rebase`"):
        record.settle()
    assert clone.sent("refs/tags") == sent
    clone.git("pull", "--quiet", "--rebase")
    record.settle()
    assert clone.sent("refs/tags") == sorted([*sent, "anime-lora#champion#2", "anime-lora@v2.0.0"])
    main = clone.git("--git-dir", "../origin.git", "rev-parse", "main")
    assert clone.git("rev-parse", "anime-lora@v2.0.0^{}", "anime-lora#champion#2^{}").split() == [main, main]


def test_after_a_rebase_every_version_that_stands_is_tagged_and_sent(clone: Clone) -> None:
    """Also those before the newest: a rollback looks for them by their tags, here and on another machine."""
    clone.decide("promoted", "v1.0.0")
    record.settle()
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    for version in ("v2.0.0", "v3.0.0"):
        clone.decide("promoted", version)
        with pytest.raises(CommandFailedError, match="not sent"):
            record.deliver(replace(ENTRY, version=version))
    clone.decide("rejected", "v3.0.0")
    clone.another("colleague").push("A better README")
    clone.git("remote", "set-url", "origin", "../origin.git")
    clone.git("pull", "--quiet", "--rebase")
    assert record.settle() is None
    elsewhere = clone.another("elsewhere")
    for number, version in enumerate(("v1.0.0", "v2.0.0", "v3.0.0"), 1):
        name = f"anime-lora@{version}"
        assert elsewhere.git("show", f"{name}:{store.POINTER}") == f"outs: {version}"
        assert elsewhere.git("log", "-1", "--format=%s", name) == f"promoted {version}"
        assert elsewhere.git("tag", "--points-at", f"{name}^{{}}").split() == [f"anime-lora#champion#{number}", name]
    assert elsewhere.git("tag", "--no-merged", "main") == ""


@pytest.mark.parametrize("outcome", ["promoted", "rejected"])
@pytest.mark.parametrize("follows", [True, False])
def test_what_a_killed_run_committed_is_sent(clone: Clone, outcome: history.Outcome, follows: bool) -> None:
    """Also the very first push of a branch, and where nothing was promoted yet."""
    clone.decide(outcome, None if outcome == "rejected" else "v1.0.0")
    if not follows:
        clone.git("branch", "--unset-upstream")
    record.settle()
    assert clone.git("rev-parse", "@{upstream}") == clone.git("rev-parse", "HEAD")
    assert bool(clone.sent("refs/tags")) == (outcome == "promoted")


def test_a_rollback_on_no_branch_is_refused(clone: Clone) -> None:
    """Its commit would be on none."""
    for version in ("v1.0.0", "v2.0.0"):
        clone.decide("promoted", version)
    Path(".dvc").mkdir()
    clone.git("switch", "--quiet", "--detach")
    head = clone.git("rev-parse", "HEAD")
    with pytest.raises(PreflightError, match="Git is on no branch: `git switch main`"):
        rollback("too dark")
    assert (clone.git("rev-parse", "HEAD"), clone.sent("refs/tags")) == (head, [])


def two_champions(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both promoted and sent; the files that DVC would bring are there."""
    Path(".dvc").mkdir()
    for version in ("v1.0.0", "v2.0.0"):
        clone.decide("promoted", version)
        record.settle()
    write_bytes(ADAPTER, b"reigned")
    monkeypatch.setattr(store, "bring", lambda: None)
    monkeypatch.setattr(record, "remote", lambda: None)
    for module in (rolling, store):
        monkeypatch.setattr(module, "sha256_file", lambda _: ENTRY.adapter)


@pytest.mark.parametrize("refused", ["remote", "dvc"])
def test_a_rollback_does_not_wait_for_dvcs_remote(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    """The old champion is here, and was sent when it was promoted; a new decision still waits for its data."""
    two_champions(clone, monkeypatch)
    error = PreflightError("no route") if refused == "remote" else CommandFailedError("no route")
    monkeypatch.setattr(record, "remote", lambda: "store")
    monkeypatch.setattr(record, refused, MagicMock(side_effect=error))
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.rollback"):
        assert rollback("too dark").version == "v1.0.0"
    assert "no route" in caplog.text
    assert clone.git("log", "-1", "--format=%s", "@{upstream}") == "Roll back to v1.0.0: too dark"
    work = triggers.Work(True, "train forced", SourceChanges([], [], []), [])
    with pytest.raises(type(error), match="no route"):
        record.conclude(Verdict(False, "worse", [], "b" * 64), "by hand", work, [])


def test_somebody_is_told_of_a_rollback_that_cannot_be_sent(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed, so another champion reigns here."""
    two_champions(clone, monkeypatch)
    notified = MagicMock()
    monkeypatch.setattr(notify, "notify", notified)
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    with pytest.raises(CommandFailedError, match=r"rolled back to v1\.0\.0, not sent: git push"):
        rollback("too dark")
    notified.assert_called_once_with("rolled back", "v2.0.0 goes, v1.0.0 is back: too dark")


def test_without_a_decision_nothing_is_sent(clone: Clone) -> None:
    """A person's commits are a person's to push."""
    clone.commit("Not ready")
    record.settle()
    assert clone.git("rev-parse", "@{upstream}") != clone.git("rev-parse", "HEAD")


def test_a_night_starts_from_what_others_pushed(clone: Clone) -> None:
    """Also after a night that failed and left a dvc.lock of its own, which is made anew."""
    colleague = clone.another("colleague")
    colleague.rank(8, 8)
    colleague.commit("Train a smaller LoRA")
    colleague.git("push", "--quiet")
    clone.rank(16, 4)
    record.settle()
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("rev-parse", "HEAD") == colleague.git("rev-parse", "HEAD")


def test_a_shallow_clone_gets_the_commits_and_tags_that_it_lacks(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a work pool makes one: the champion is known as such, and is not tagged again."""
    clone.decide("promoted", "v1.0.0")
    record.settle()
    clone.rank(8, 8)
    clone.push("Train a smaller LoRA")
    tags = clone.sent("refs/tags")
    shallow = clone.another("shallow", "--depth", "1", "--no-tags")
    monkeypatch.chdir(shallow.root)
    record.settle()
    assert shallow.git("tag").split() == clone.sent("refs/tags") == tags
    assert triggers.setting_changes() == ["train.rank 16 → 8"]


def test_a_clone_without_tags_gets_them(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would register the versions anew, and its own tags would stand in the way of the others'."""
    for version in ("v1.0.0", "v2.0.0"):
        clone.decide("promoted", version)
        record.settle()
    there = clone.git("for-each-ref", "--format=%(objectname)", "refs/tags").split()
    bare = clone.another("bare", "--no-tags")
    monkeypatch.chdir(bare.root)
    record.settle()
    assert bare.git("for-each-ref", "--format=%(objectname)", "refs/tags").split() == there
    bare.decide("promoted", "v3.0.0")
    record.deliver(replace(ENTRY, version="v3.0.0"))
    assert {"anime-lora#champion#3", "anime-lora@v3.0.0"} < set(clone.sent("refs/tags"))
    monkeypatch.chdir(clone.root)
    clone.git("config", "remote.origin.tagOpt", "--no-tags")
    record.settle()
    assert clone.git("tag").split() == clone.sent("refs/tags"), "also those of what was just taken over"


def test_of_two_decisions_the_one_that_was_pushed_stands(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cure as the message gives it, with the same version promoted on two machines."""
    clone.decide("promoted", "v1.0.0")
    record.settle()
    other = clone.another("other")
    clone.decide("promoted", "v2.0.0")
    record.settle()
    monkeypatch.chdir(other.root)
    other.write("models/champion.dvc", "outs: another v2.0.0\n")
    other.decide("rejected", "v1.0.0")
    other.decide("promoted", "v2.0.0")
    with pytest.raises(CommandFailedError, match=r"a conflict in models/: `git rebase --skip`"):
        record.deliver(replace(ENTRY, version="v2.0.0"))
    skipped = 0
    pulled = subprocess.run(["git", "pull", "--quiet", "--rebase"], capture_output=True, check=False)
    while pulled.returncode:
        skipped += 1
        pulled = subprocess.run(["git", "rebase", "--skip"], capture_output=True, check=False)
    assert skipped
    assert record.settle() is None
    assert other.git("rev-parse", "HEAD") == clone.git("rev-parse", "HEAD")
    refs = ("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    assert other.git(*refs) == clone.git(*refs)


def test_what_others_pushed_overwrites_nobodys_work(clone: Clone) -> None:
    """A file that is changed here and there stops the night; the change is kept."""
    clone.another("colleague").push("theirs", "params.yaml")
    clone.write("params.yaml", "mine")
    with pytest.raises(CommandFailedError, match="commit or stash what is changed here"):
        record.settle()
    assert Path("params.yaml").read_text() == "mine"


def test_a_remote_that_does_not_answer_is_a_warning(clone: Clone, caplog: pytest.LogCaptureFixture) -> None:
    """A night's training need not wait for it."""
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.upstream"):
        record.settle()
    assert "going on with the commits that are here: git fetch" in caplog.text


def test_what_cannot_be_sent_now_holds_nobody_up(clone: Clone, caplog: pytest.LogCaptureFixture) -> None:
    """A remote that is away, or takes no push: the next night still trains, and a rollback still rolls back."""
    clone.decide("promoted", "v1.0.0")
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.record"):
        unsent = record.settle()
    assert "git push" in str(unsent)
    assert "git pull" not in str(unsent), "that would not help"
    assert "what earlier runs decided is not sent: git push" in caplog.text
    assert clone.git("tag").split() == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    clone.git("remote", "set-url", "origin", "../origin.git")
    assert record.settle() is None
    assert clone.sent("refs/tags") == ["anime-lora#champion#1", "anime-lora@v1.0.0"]


@pytest.mark.parametrize("due", [True, False])
def test_a_run_without_work_fails_while_a_decision_is_not_sent(due: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped would be green every morning; a run with work goes on and sends at its end."""
    for name in ("mark_orphans", "committable", "preflight", "ready", "load_params", "_rename", "get_run_logger"):
        monkeypatch.setattr(retrain, name, MagicMock())
    monkeypatch.setattr(record, "settle", lambda: "git push: no route")
    monkeypatch.setattr(triggers, "look", lambda *_: triggers.Work(due, "why", SourceChanges([], [], []), []))
    monkeypatch.setattr(retrain, "_night", lambda *_: "worked")
    if due:
        assert retrain.retrain.fn() == "worked"
        return
    with pytest.raises(CommandFailedError, match="why, but what earlier runs decided is not sent: git push: no route"):
        retrain.retrain.fn()

"""What a night leaves in Git, and what the next one makes of it; Git is real, nothing is trained."""

import logging
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from flows.champion import history, record, store, triggers
from flows.errors import CommandFailedError, PreflightError
from tests.support.clone import ENTRY, Clone


def test_a_setting_is_due_until_a_decision_is_committed_with_it(clone: Clone) -> None:
    """The stages rewrite dvc.lock on a night that then fails; a decision says when a setting was tried."""
    assert triggers.changes_since_decision() == ["first run"]
    clone.decide("promoted", "v1.0.0")
    assert triggers.changes_since_decision() == []
    clone.rank(8, 16)
    clone.commit("Train a smaller LoRA")
    clone.rank(8, 8)
    assert triggers.changes_since_decision() == ["train.rank 16 → 8"]
    clone.commit("Keep what `dvc repro` wrote")
    assert triggers.changes_since_decision() == ["train.rank 16 → 8"]
    clone.decide("rejected", "v1.0.0")
    assert triggers.changes_since_decision() == []


def test_a_refused_push_sends_no_tag_and_after_a_rebase_the_tag_is_on_the_branch(clone: Clone) -> None:
    """A tag of a commit that is on no branch would name a version nobody can reach."""
    clone.decide("promoted", "v1.0.0")
    record.settle_earlier_runs()
    sent = clone.sent("refs/tags")
    assert sent == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    clone.another("colleague").push("A better README")
    clone.decide("promoted", "v2.0.0")
    with pytest.raises(CommandFailedError, match=r"promoted v2\.0\.0, not sent: .*git pull --rebase"):
        record.deliver(replace(ENTRY, version="v2.0.0"))
    with pytest.raises(PreflightError, match=r"others pushed 1 commits, and 1 .* not sent: `git pull --rebase`"):
        record.settle_earlier_runs()
    assert clone.sent("refs/tags") == sent
    clone.git("pull", "--quiet", "--rebase")
    record.settle_earlier_runs()
    assert clone.sent("refs/tags") == sorted([*sent, "anime-lora#champion#2", "anime-lora@v2.0.0"])
    main = clone.git("--git-dir", "../origin.git", "rev-parse", "main")
    assert clone.git("rev-parse", "anime-lora@v2.0.0^{}", "anime-lora#champion#2^{}").split() == [main, main]


def test_after_a_rebase_every_version_that_stands_is_tagged_and_sent(clone: Clone) -> None:
    """Also those before the newest: a rollback looks for them by their tags, here and on another machine."""
    clone.decide("promoted", "v1.0.0")
    record.settle_earlier_runs()
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    for version in ("v2.0.0", "v3.0.0"):
        clone.decide("promoted", version)
        with pytest.raises(CommandFailedError, match="not sent"):
            record.deliver(replace(ENTRY, version=version))
    clone.decide("rejected", "v3.0.0")
    clone.another("colleague").push("A better README")
    clone.git("remote", "set-url", "origin", "../origin.git")
    clone.git("pull", "--quiet", "--rebase")
    assert record.settle_earlier_runs() is None
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
    record.settle_earlier_runs()
    assert clone.git("rev-parse", "@{upstream}") == clone.git("rev-parse", "HEAD")
    assert bool(clone.sent("refs/tags")) == (outcome == "promoted")


def test_without_a_decision_nothing_is_sent(clone: Clone) -> None:
    """A person's commits are a person's to push."""
    clone.commit("Not ready")
    record.settle_earlier_runs()
    assert clone.git("rev-parse", "@{upstream}") != clone.git("rev-parse", "HEAD")


def test_a_night_starts_from_what_others_pushed(clone: Clone) -> None:
    """Also after a night that failed and left a dvc.lock of its own, which is made anew."""
    colleague = clone.another("colleague")
    colleague.rank(8, 8)
    colleague.commit("Train a smaller LoRA")
    colleague.git("push", "--quiet")
    clone.rank(16, 4)
    record.settle_earlier_runs()
    assert clone.status() == ""
    assert clone.git("rev-parse", "HEAD") == colleague.git("rev-parse", "HEAD")


def test_a_shallow_clone_gets_the_commits_and_tags_that_it_lacks(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a work pool makes one: the champion is known as such, and is not tagged again."""
    clone.decide("promoted", "v1.0.0")
    record.settle_earlier_runs()
    clone.rank(8, 8)
    clone.push("Train a smaller LoRA")
    tags = clone.sent("refs/tags")
    shallow = clone.another("shallow", "--depth", "1", "--no-tags")
    monkeypatch.chdir(shallow.root)
    record.settle_earlier_runs()
    assert shallow.git("tag").split() == clone.sent("refs/tags") == tags
    assert triggers.changes_since_decision() == ["train.rank 16 → 8"]


def test_a_clone_without_tags_gets_them(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would register the versions anew, and its own tags would stand in the way of the others'."""
    for version in ("v1.0.0", "v2.0.0"):
        clone.decide("promoted", version)
        record.settle_earlier_runs()
    there = clone.git("for-each-ref", "--format=%(objectname)", "refs/tags").split()
    bare = clone.another("bare", "--no-tags")
    monkeypatch.chdir(bare.root)
    record.settle_earlier_runs()
    assert bare.git("for-each-ref", "--format=%(objectname)", "refs/tags").split() == there
    bare.decide("promoted", "v3.0.0")
    record.deliver(replace(ENTRY, version="v3.0.0"))
    assert {"anime-lora#champion#3", "anime-lora@v3.0.0"} < set(clone.sent("refs/tags"))
    monkeypatch.chdir(clone.root)
    clone.git("config", "remote.origin.tagOpt", "--no-tags")
    record.settle_earlier_runs()
    assert clone.git("tag").split() == clone.sent("refs/tags"), "also those of what was just taken over"


def test_of_two_decisions_the_one_that_was_pushed_stands(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cure as the message gives it, with the same version promoted on two machines."""
    clone.decide("promoted", "v1.0.0")
    record.settle_earlier_runs()
    other = clone.another("other")
    clone.decide("promoted", "v2.0.0")
    record.settle_earlier_runs()
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
    assert record.settle_earlier_runs() is None
    assert other.git("rev-parse", "HEAD") == clone.git("rev-parse", "HEAD")
    refs = ("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    assert other.git(*refs) == clone.git(*refs)


def test_what_others_pushed_overwrites_nobodys_work(clone: Clone) -> None:
    """A file that is changed here and there stops the night; the change is kept."""
    clone.another("colleague").push("theirs", "params.yaml")
    clone.write("params.yaml", "mine")
    with pytest.raises(CommandFailedError, match="commit or stash what is changed here"):
        record.settle_earlier_runs()
    assert Path("params.yaml").read_text() == "mine"


def test_a_remote_that_does_not_answer_is_a_warning(clone: Clone, caplog: pytest.LogCaptureFixture) -> None:
    """A night's training need not wait for it."""
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.remote"):
        record.settle_earlier_runs()
    assert "going on with the commits that are here: git fetch" in caplog.text


def test_what_cannot_be_sent_now_holds_nobody_up(clone: Clone, caplog: pytest.LogCaptureFixture) -> None:
    """A remote that is away, or takes no push: the next night still trains, and a rollback still rolls back."""
    clone.decide("promoted", "v1.0.0")
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.record"):
        unsent = record.settle_earlier_runs()
    assert "git push" in str(unsent)
    assert "git pull" not in str(unsent), "that would not help"
    assert "what earlier runs decided is not sent: git push" in caplog.text
    assert clone.git("tag").split() == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    clone.git("remote", "set-url", "origin", "../origin.git")
    assert record.settle_earlier_runs() is None
    assert clone.sent("refs/tags") == ["anime-lora#champion#1", "anime-lora@v1.0.0"]

"""What a run leaves in Git, and what the next one sends of it; Git is real, nothing is trained."""

import logging
from dataclasses import replace

import pytest

from flows.champion import history, record
from flows.errors import CommandFailedError, PreflightError
from tests.support.clone import ENTRY, Clone


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

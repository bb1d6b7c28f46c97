"""A run and those who push to the same branch, from full, shallow and tagless clones; Git is real."""

import logging
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from flows.champion import record, triggers
from flows.errors import CommandFailedError
from tests.support.clone import ENTRY, Clone


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

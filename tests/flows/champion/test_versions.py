"""The tags of the versions, also after a rebase; Git and GTO are real."""

from dataclasses import replace

import pytest

from flows.champion import record, store
from flows.errors import CommandFailedError
from tests.support.clone import ENTRY, Clone


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

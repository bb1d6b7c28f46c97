"""Nights in a row on one project, real Git, DVC and Prefect. Each test goes on where the last ended."""

import sys
import time

from orchestration.nightly import Nightly

NEW = iter(range(200, 300))


def night(nightly: Nightly, *options: str, new: int = 1, check: bool = True, **mood: object) -> str:
    """Add pictures and retrain, training as the mood says."""
    for _ in range(new):
        nightly.add(next(NEW))
    nightly.mood(**mood)
    return nightly.retrain(*options, check=check)


def test_the_first_night_publishes_a_champion_and_sends_it(nightly: Nightly) -> None:
    said = night(nightly, new=0)
    assert "Promoted: promoted: S " in said
    assert nightly.clean()
    assert [entry["version"] for entry in nightly.history()] == ["v1.0.0"]
    assert nightly.tags() == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    theirs = nightly.run("git", "--git-dir", "../origin.git", "for-each-ref", "--format=%(refname:short)").stdout
    assert {"anime-lora#champion#1", "anime-lora@v1.0.0"} < set(theirs.split())
    missing = nightly.run(sys.executable, "-m", "dvc", "status", "--cloud", "--quiet", check=False)
    assert missing.returncode == 0, "a commit points at data that is not on the remote"


def test_nothing_new_is_skipped_in_seconds_without_a_commit(nightly: Nightly) -> None:
    head, start = nightly.head(), time.monotonic()
    said = nightly.retrain()
    seconds = time.monotonic() - start
    assert "Skipped: no new data" in said
    assert "Running stage" not in said and "dvc" not in said
    assert nightly.head() == head and nightly.clean()
    assert seconds < 20, f"{seconds:.1f} s"

"""What stops a run before it starts, in one sentence with its cure."""

from pathlib import Path

import pytest

from flows.champion.preflight import repository_problems
from tests.support.clone import Clone


def test_a_folder_that_git_does_not_trust_is_told_in_gits_own_words(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git init` would not help where the folder belongs to somebody else, as in a container."""
    assert repository_problems() == []
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (problem,) = repository_problems()
    assert problem.startswith(f"fatal: detected dubious ownership in repository at '{clone.root}'")
    assert problem.endswith(f"git config --global --add safe.directory {clone.root}")


def test_a_folder_without_git_and_dvc_is_told_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the command that helps."""
    monkeypatch.chdir(tmp_path)
    assert repository_problems() == [
        "this folder is no Git repository: `git init` makes it one",
        "this folder is no DVC project: `dvc init` makes it one",
    ]

"""What stops a run before it starts, in one sentence with its cure."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.champion.preflight import PreflightError, remote, repository_faults
from tests.support.clone import Clone


def test_a_folder_that_git_does_not_trust_is_told_in_gits_own_words(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git init` would not help where the folder belongs to somebody else, as in a container."""
    Path(".dvc").mkdir()
    assert repository_faults() == []
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (fault,) = repository_faults()
    assert fault.startswith(f"fatal: detected dubious ownership in repository at '{clone.root}'")
    assert fault.endswith(f"git config --global --add safe.directory {clone.root}")


def test_a_folder_without_git_and_dvc_is_told_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the command that helps."""
    monkeypatch.chdir(tmp_path)
    assert repository_faults() == [
        "this folder is no Git repository: `git init` makes it one",
        "this folder is no DVC project: `dvc init` makes it one",
    ]


@pytest.mark.parametrize(("config", "says"), [
    ("", "remote 'store' doesn't exist"),
    ("['remote \"store\"']\n    url = gs://bucket/faces\n", "requires 'dvc-gs' to be installed"),
    ("['remote \"store\"']\n    url = store\n    keys = a\n", "extra keys not allowed"),
    ("[remote\n", "Invalid line"),
])  # fmt: skip
def test_a_remote_that_is_written_down_wrong_is_told_in_dvcs_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, says: str
) -> None:
    """No traceback, and no night that takes it for none and commits what nobody else can have."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    assert remote() is None
    Path(".dvc/config").write_text(f"[core]\n    no_scm = true\n    remote = store\n{config}")
    with pytest.raises(PreflightError, match=says):
        remote()

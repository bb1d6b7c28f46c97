"""The git commit a run was made from, for its files' lineage; where there is no repository, there is none."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Commit:
    """A commit and when it was made, in seconds since 1970."""

    sha: str
    seconds: int


def current(folder: Path = Path()) -> Commit | None:
    """The commit checked out in `folder`; None outside a repository, before the first commit, or without git."""
    try:
        output = subprocess.run(
            ["git", "log", "-1", "--format=%H %ct"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split()
        return Commit(output[0], int(output[1]))
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return None

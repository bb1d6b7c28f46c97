"""Git as a process: any command, and what several modules ask it."""

import os
import subprocess
from pathlib import Path

from flows.runtime.process import run_command, succeeds


def git(*arguments: str, cure: str = "") -> str:
    """`git …`; its output.

    Raises:
        CommandFailedError: with Git's own reason, and with `cure`.
    """
    return run_command("git", *arguments, cure=cure)


def repository_error() -> str | None:
    """Git's reason why this folder is not in a repository it works with; None when it is."""
    english = {**os.environ, "LC_ALL": "C"}
    command = ["git", "rev-parse", "--is-inside-work-tree"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=english, check=False)
    return " ".join(done.stderr.split()) if done.returncode else None


def has_file(revision: str, file: Path) -> bool:
    """Whether `file` is in the commit."""
    return succeeds("git", "cat-file", "-e", f"{revision}:{file}")


def changed_files(excluded: tuple[str, ...]) -> list[str]:
    """Tracked files with uncommitted changes, but for those that `excluded` names."""
    pathspec = ["--", ".", *(f":(exclude){name}" for name in excluded)]
    command = ["git", "status", "--porcelain", "--untracked-files=no", *pathspec]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [line[3:] for line in lines]


def restore_files(*files: Path) -> None:
    """Put files back to what HEAD has; those it lacks are removed.

    Raises:
        CommandFailedError: Git refuses.
    """
    for file in files:
        if has_file("HEAD", file):
            git("checkout", "HEAD", "--", str(file))
        else:
            git("rm", "--cached", "--quiet", "--ignore-unmatch", str(file))
            file.unlink(missing_ok=True)

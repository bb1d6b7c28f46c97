"""Git and DVC as processes: what they say, or one error with their own reason."""

import subprocess
import sys

from tasks.dvc_stage import environment


class CommandFailedError(Exception):
    """A command that a run needs did not end well; the message is its own reason."""


def said(*command: str, cure: str = "") -> str:
    """Run `command`; its standard output.

    Raises:
        CommandFailedError: it ended with another exit code than 0; `cure` says what to do then.
    """
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env=environment(),
        check=False,
    )
    if ran.returncode != 0:
        told = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
        reasons = [line for line in told if line.startswith(("ERROR:", "error:", "fatal:", "!"))] or told[-3:]
        name = " ".join(word for word in command if word not in {sys.executable, "-m"})
        why = " · ".join(reasons) or f"exit code {ran.returncode}"
        raise CommandFailedError(f"{name}: {why}" + (f"; {cure}" if cure else ""))
    return ran.stdout


def succeeds(*command: str) -> bool:
    """Whether `command` ends with exit code 0."""
    try:
        ran = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return False
    return ran.returncode == 0


def git(*arguments: str, cure: str = "") -> str:
    """`git …`; its output."""
    return said("git", *arguments, cure=cure)


def dvc(*arguments: str, cure: str = "") -> str:
    """`dvc …`, waiting for DVC's lock; its output."""
    return said(sys.executable, "-m", "dvc", "--wait-for-lock", *arguments, cure=cure)

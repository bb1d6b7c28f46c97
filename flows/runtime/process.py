"""Git and DVC as processes: what they say, or one error with their own reason."""

import os
import subprocess
import sys

from tasks.dvc_process import environment

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=60 -o ServerAliveInterval=60"
"""Three minutes without an answer, and ssh ends."""
SLOW = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "300"}
"""Five minutes with less than a byte a second, and Git ends a transfer; a hook at the other end may take some."""


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
        env=unattended(),
        check=False,
    )
    if ran.returncode != 0:
        output = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
        marked = [n for n, line in enumerate(output) if line.startswith(("ERROR:", "error:", "fatal:", "!"))]
        reasons = [output[n] for n in marked] or output[-3:]
        if marked and reasons[-1].startswith("fatal:"):
            reasons[-1] = " ".join(output[marked[-1] :])  # Git's advice follows
        name = " ".join(word for word in command if word not in {sys.executable, "-m"})
        why = " · ".join(reasons) or f"exit code {ran.returncode}"
        raise CommandFailedError(f"{name}: {why}" + (f"; {cure}" if cure else ""))
    return ran.stdout


def unattended() -> dict[str, str]:
    """The environment of a command that may ask nobody: Git and ssh fail where they would wait for a password.

    A connection on which nothing comes any more is given up. An ssh command or a patience that the environment names
    is left as it is, and so is `core.sshCommand`.
    """
    chosen = {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys() or succeeds("git", "config", "core.sshCommand")
    ssh = {} if chosen else {"GIT_SSH_COMMAND": SSH}
    return {**SLOW, **environment(), "GIT_TERMINAL_PROMPT": "0", **ssh}


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

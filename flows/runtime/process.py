"""A command that a run needs, to its end: its output, or one error with the command's own reason."""

import os
import subprocess
import sys

from flows.errors import CommandFailedError
from tasks.process_group import command_environment

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=60 -o ServerAliveInterval=60"
"""Three minutes without an answer, and ssh ends."""
GIT_TIMEOUT = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "300"}
"""Five minutes with less than a byte a second, and Git ends a transfer; a hook at the other end may take some."""


def run_command(*command: str, cure: str = "") -> str:
    """Run `command`; its standard output.

    Raises:
        CommandFailedError: the exit code is not 0; `cure` says what to do then.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env=unattended_environment(),
        check=False,
    )
    if done.returncode != 0:
        name = " ".join(word for word in command if word not in {sys.executable, "-m"})
        reason = _failure_reason(done.stderr or done.stdout) or f"exit code {done.returncode}"
        raise CommandFailedError(f"{name}: {reason}" + (f"; {cure}" if cure else ""))
    return done.stdout


def _failure_reason(output: str) -> str:
    """Lines that Git and DVC mark as errors, else the last three."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [n for n, line in enumerate(lines) if line.startswith(("ERROR:", "error:", "fatal:", "!"))]
    reasons = [lines[n] for n in marked] or lines[-3:]
    if marked and reasons[-1].startswith("fatal:"):
        reasons[-1] = " ".join(lines[marked[-1] :])  # Git's advice follows
    return " · ".join(reasons)


def unattended_environment() -> dict[str, str]:
    """The environment of a command that nobody answers: Git and ssh fail where they would wait for a password.

    A connection on which nothing comes any more is given up. An ssh command or a time limit that the environment
    already names stays as it is, and so does `core.sshCommand`.
    """
    configured = {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys() or succeeds("git", "config", "core.sshCommand")
    ssh = {} if configured else {"GIT_SSH_COMMAND": SSH}
    return {**GIT_TIMEOUT, **command_environment(), "GIT_TERMINAL_PROMPT": "0", **ssh}


def succeeds(*command: str) -> bool:
    """Whether `command` ends with exit code 0."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0

"""Git as a process of a night, where nobody answers its questions."""

import pytest

from flows.errors import CommandFailedError
from flows.runtime.git import git
from tests.support.clone import Clone

ASKS = "!sh -c 'echo $GIT_TERMINAL_PROMPT $GIT_SSH_COMMAND'"
WAITS = "!sh -c 'echo $GIT_HTTP_LOW_SPEED_LIMIT $GIT_HTTP_LOW_SPEED_TIME'"


def test_git_and_ssh_ask_nobody(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password or an unknown host ends the command at once; an ssh command of one's own is left alone."""
    for name in ("GIT_SSH_COMMAND", "GIT_SSH"):
        monkeypatch.delenv(name, raising=False)
    clone.git("config", "alias.asks", ASKS)
    assert git("asks") == "0 ssh -o BatchMode=yes -o ConnectTimeout=60 -o ServerAliveInterval=60\n"
    clone.git("config", "core.sshCommand", "ssh -i key")
    assert git("asks") == "0\n"
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -p 2222")
    assert git("asks") == "0 ssh -p 2222\n"


def test_a_connection_on_which_nothing_comes_is_given_up(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the night waits for ever, and all that follow for it; a patience of one's own is left alone."""
    for name in ("GIT_HTTP_LOW_SPEED_LIMIT", "GIT_HTTP_LOW_SPEED_TIME"):
        monkeypatch.delenv(name, raising=False)
    clone.git("config", "alias.waits", WAITS)
    assert git("waits") == "1 300\n"
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "20")
    assert git("waits") == "1 20\n"


def test_a_lock_that_a_power_cut_left_is_told_with_gits_advice(clone: Clone) -> None:
    """Every night would fail on it, and nothing else says that a person may remove the file."""
    clone.write(".git/index.lock", "")
    with pytest.raises(CommandFailedError, match=r"^git add .: fatal: .*index\.lock.* remove the file manually"):
        git("add", ".")

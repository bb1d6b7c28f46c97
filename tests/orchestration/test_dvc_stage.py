"""A stage's process group: whatever ends the call, nobody of the group is left."""

import signal
import subprocess
import sys
from types import FrameType

import psutil
import pytest

from tasks.dvc_stage import RunCancelledError, end_group, listened

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
SAVING = """
import signal, sys, time
def save(*_):
    time.sleep(float(sys.argv[1]))
    print("saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(600)
"""


def test_a_cancel_ends_the_command_and_its_children() -> None:
    heard: list[str] = []

    def ticked() -> None:
        if heard:
            raise RunCancelledError("the run was cancelled")

    with pytest.raises(RunCancelledError):
        listened("the command", [sys.executable, "-c", PARENT], heard.append, ticked)
    assert not psutil.pid_exists(int(heard[0]))


@pytest.mark.parametrize(("seconds", "grace", "said"), [(1.5, 120, b"saved\n"), (600, 3, b"")])
def test_a_second_cancel_neither_shortens_nor_prevents_the_end(seconds: float, grace: float, said: bytes) -> None:
    """The process has its time to save its work; one that takes longer is killed."""

    def interrupted(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(seconds)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            end_group(process, grace)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert process.poll() is not None
    assert process.stdout.read() == said
    process.stdout.close()

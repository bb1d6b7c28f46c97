"""A stage's process group: whatever ends the call, nobody of the group is left."""

import os
import signal
import subprocess
import sys
import time
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
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
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


def test_a_second_cancel_does_not_wait_for_a_process_that_ignores_the_first() -> None:
    def interrupted(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    before = signal.signal(signal.SIGALRM, interrupted)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            end_group(process, grace=120)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert process.poll() == -signal.SIGKILL
    assert time.monotonic() - start < 60
    process.stdout.close()

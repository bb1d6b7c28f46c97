"""Who may work in the folder, and who only looks whether somebody does."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from flows.errors import RunLockedError
from flows.runtime.lock import check_unlocked, run_lock

HOLDER = """
import sys, time
from pathlib import Path
from flows.runtime.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_and_so_is_one_that_looks_first(tmp_path: Path) -> None:
    """At once, and only while the first one holds the folder."""
    lock = tmp_path / "run.lock"
    with run_lock(lock):
        with pytest.raises(RunLockedError, match="another run works in this folder"), run_lock(lock):
            pass
        with pytest.raises(RunLockedError, match="another run works in this folder"):
            check_unlocked(lock)
    check_unlocked(lock)


def test_a_look_refuses_nobody(tmp_path: Path) -> None:
    """A run that the schedule starts in that moment has nobody who would start it again; of two, one still runs."""
    lock, ends, refused = tmp_path / "run.lock", threading.Event(), threading.Event()
    ran: list[bool] = []

    def run() -> None:
        try:
            with run_lock(lock):
                ran.append(True)
                ends.wait(60)
        except RunLockedError:
            refused.set()

    with FileLock(lock):
        runs = [threading.Thread(target=run) for _ in range(2)]
        for each in runs:
            each.start()
        assert not refused.wait(0.3)
        assert ran == []
    assert refused.wait(60)
    ends.set()
    for each in runs:
        each.join()
    assert ran == [True]


def test_the_lock_of_a_killed_run_is_free_and_names_its_holder_until_then(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError, match=rf"another run works in this folder \(process {holder.pid}\)"):
            check_unlocked(lock)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with run_lock(lock):
        assert json.loads(lock.read_text()) == {"pid": os.getpid()}

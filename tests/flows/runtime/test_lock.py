"""Who may work in the folder, and who only looks whether somebody does."""

import fcntl
import threading
from pathlib import Path

import pytest

from flows.runtime.lock import RunLockedError, refuse_second_run, run_lock


def test_a_second_run_is_refused_and_so_is_one_that_looks_first(tmp_path: Path) -> None:
    """At once, and only while the first one holds the folder."""
    lock = tmp_path / "run.lock"
    with run_lock(lock):
        with pytest.raises(RunLockedError, match="another run works in this folder"), run_lock(lock):
            pass
        with pytest.raises(RunLockedError, match="another run works in this folder"):
            refuse_second_run(lock)
    refuse_second_run(lock)


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

    with lock.open("a") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        refuse_second_run(lock)
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

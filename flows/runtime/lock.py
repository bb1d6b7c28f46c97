"""One project folder, one run: a lock that the kernel frees when its holder dies, however it dies."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from anime_lora.config import paths
from flows.errors import RunLockedError
from tasks.dvc_internals import forget_dead_processes
from tasks.process_group import RUNNING_COMMAND, end_leftover_command

RUN_LOCK = paths.CACHE / "run.lock"
ACTIVE_RUNS = paths.CACHE / "runs"
"""An empty file for each Prefect run that holds the folder, named by its id; one left without its run: the run died."""
PATIENCE, POLL = 1.0, 0.01
"""Seconds to try for, and between two tries: `check_unlocked` takes the lock too, for a moment."""


@contextmanager
def run_lock(path: Path = RUN_LOCK) -> Iterator[None]:
    """Hold the project folder for the length of the block, and note there which Prefect run does.

    A command that a killed run left running is ended first, and taken out of DVC's list of who holds which path.

    Raises:
        RunLockedError: another process holds it.
    """
    with _locked(path):
        path.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
        end_leftover_command(path.parent / RUNNING_COMMAND.name)
        forget_dead_processes()
        with _registered(path.parent / ACTIVE_RUNS.name):
            yield


def check_unlocked(path: Path = RUN_LOCK) -> None:
    """Say now, before a server is started, that another run holds the folder.

    Raises:
        RunLockedError: it does.
    """
    with _locked(path):
        pass


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without `flock`, filelock would fall back to a lock file that outlives a killed holder.
    lock = FileLock(path, timeout=PATIENCE, poll_interval=POLL, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise RunLockedError(
            f"another run works in this folder (process {_holder(path)}): wait for it, or end it; "
            "a second run would fight it for the same files"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _registered(folder: Path) -> Iterator[None]:
    from prefect.runtime import flow_run

    if flow_run.id is None:
        yield
        return
    folder.mkdir(exist_ok=True)
    file = folder / str(flow_run.id)
    file.touch()
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return "unknown"

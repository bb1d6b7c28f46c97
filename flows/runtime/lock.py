"""One workspace, one run: a lock the kernel frees when its holder dies, however it dies."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anime_lora.config import paths
from tasks.dvc_holders import forget_dead
from tasks.dvc_process import AT_WORK, end_leftover

RUN_LOCK = paths.CACHE / "run.lock"
RUNS = paths.CACHE / "runs"
"""An empty file for each Prefect run that holds the folder, named by its id; one that outlives its run says it died."""

LOOK = 0.01
"""Seconds for somebody else to end a look at the lock."""


class RunLockedError(Exception):
    """Another run works in this project folder."""


@contextmanager
def run_lock(path: Path = RUN_LOCK) -> Iterator[None]:
    """Hold the project folder for the length of the block, which a Prefect run signs with its id.

    What a killed run left at work there is ended first, and taken out of DVC's list of who holds which path.

    Raises:
        RunLockedError: at once, when another process holds it.
    """
    with _held(path, fcntl.LOCK_EX) as descriptor:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid()}).encode())
        end_leftover(path.parent / AT_WORK.name)
        forget_dead()
        with _signed(path.parent / RUNS.name):
            yield


@contextmanager
def _signed(runs: Path) -> Iterator[None]:
    from prefect.runtime import flow_run

    if flow_run.id is None:
        yield
        return
    runs.mkdir(exist_ok=True)
    sign = runs / str(flow_run.id)
    sign.touch()
    try:
        yield
    finally:
        sign.unlink(missing_ok=True)


@contextmanager
def _held(path: Path, how: int) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _taken(descriptor, how):
            if not _taken(descriptor, fcntl.LOCK_SH):
                raise RunLockedError(
                    f"another run works in this folder (process {_holder(path)}): wait for it, or end it; "
                    "a second run would fight it for the same files"
                )
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # nobody runs: somebody else looks
            time.sleep(LOOK)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def refuse_second_run(path: Path = RUN_LOCK) -> None:
    """Say now, before a server is started, that another run holds the folder; no run is refused for this look.

    Raises:
        RunLockedError: it does.
    """
    with _held(path, fcntl.LOCK_SH):
        pass


def _holder(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return "unknown"

"""A Dask scheduler and its workers as processes of their own, each in a folder that is not the project's."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = 60.0
"""Seconds a scheduler or a worker may take to start."""


class Cluster:
    """`with Cluster(folder) as cluster:` starts a scheduler; `worker()` adds a worker; all end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.address = ""
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        record = self.folder / "scheduler.json"
        listen = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(record))
        self._start("scheduler", *listen)
        _wait(lambda: record.is_file() and record.stat().st_size > 0, "the scheduler has not started")
        self.address = json.loads(record.read_text())["address"]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def worker(self, *options: str) -> "subprocess.Popen[bytes]":
        """One more worker, of one thread, without a nanny that would start it again."""
        before = self._log().count(b"Register worker")
        process = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", *options)
        _wait(lambda: self._log().count(b"Register worker") > before, "the worker has not joined")
        return process

    def _log(self) -> bytes:
        return (self.folder / "scheduler.log").read_bytes()

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process


def _wait(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START
    while not done():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)

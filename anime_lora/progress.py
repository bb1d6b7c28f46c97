"""Progress of a stage: a bar with the time left in a terminal, lines elsewhere, and a small JSON file for the flows."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from anime_lora.config import paths

T = TypeVar("T")
LINE_EVERY = 15.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Counts steps of one stage; `.update(1, loss=0.1)` moves the bar, the log line and `progress.json`.

    Use as a context manager. The JSON holds: stage, description, done, total, seconds, eta_seconds and the values.
    """

    def __init__(self, stage: str, description: str, total: int, unit: str = "it", done: int = 0) -> None:
        self.stage, self.description, self.total, self.done = stage, description, total, done
        self._first, self._start, self._line, self._file = done, time.monotonic(), time.monotonic(), 0.0
        self._values: dict[str, Any] = {}
        self._bar = tqdm(
            total=total, initial=done, desc=description, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True
        )

    def __enter__(self) -> "Progress":
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._bar.close()
        if self._bar.disable:
            self._print()

    def update(self, steps: int = 1, **values: Any) -> None:
        """Count `steps` more; `values` (loss, lr, …) are shown beside the count."""
        self.done += steps
        self._values.update(values)
        self._bar.set_postfix(self._values, refresh=False)
        self._bar.update(steps)
        now = time.monotonic()
        if self._bar.disable and now - self._line >= LINE_EVERY:
            self._line = now
            self._print()
        if now - self._file >= 1.0:
            self._write()

    def _eta(self) -> float:
        rate = (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)
        return (self.total - self.done) / rate if rate > 0 else 0.0

    def _print(self) -> None:
        extra = "".join(f", {key} {value}" for key, value in self._values.items())
        left = f", about {self._eta():.0f} s left" if self.done > self._first else ""
        print(f"{self.description}: {self.done}/{self.total}{left}{extra}", flush=True)

    def _write(self) -> None:
        self._file = time.monotonic()
        counts = {"stage": self.stage, "description": self.description, "done": self.done, "total": self.total}
        times = {"seconds": round(time.monotonic() - self._start, 1), "eta_seconds": round(self._eta(), 1)}
        path = Path(paths.PROGRESS) / f"{self.stage}.json"
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({**counts, **times, **self._values}))
            beside.replace(path)
        except OSError:  # a full disk, say: the stage's own outputs fail with the better message
            beside.unlink(missing_ok=True)


def track(items: Iterable[T], stage: str, description: str, total: int, unit: str = "it") -> Iterator[T]:
    """Iterate over `items` while showing progress."""
    with Progress(stage, description, total, unit) as progress:
        for item in items:
            yield item
            progress.update()

"""DVC's list of the processes that read and write its paths, which outlives those that are killed.

DVC drops who is dead, but knows a process by its number only: in a container, tonight's numbers are last night's. And
it writes the list in place, so that a kill can leave half of it, which DVC then refuses to read.
"""

import fcntl
import json
from pathlib import Path
from typing import Any

import psutil

from anime_lora.files import write_json

HOLDERS = Path(".dvc/tmp/rwlock")
TICK = 2.0
"""Seconds by which a process may seem to begin later than it did."""


def forget_dead(holders: Path = HOLDERS) -> None:
    """Take out who is dead, also where another program has the number now; a list that cannot be read is removed.

    To be called by who holds the run lock. A `dvc` called by hand may be at work all the same, and stays in the list.
    """
    if not holders.is_file():
        return
    with holders.with_name(f"{holders.name}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # DVC's own, for as long as it writes
        try:
            known = json.loads(holders.read_text(encoding="utf-8"))
            left = _living(known, holders.stat().st_mtime + TICK)
        except (ValueError, TypeError, KeyError, AttributeError):
            holders.unlink()
            return
        if left != known:
            write_json(holders, left)


def _living(known: dict[str, Any], written: float) -> dict[str, Any]:
    """The list without those who began after it was written, or are not there."""
    readers = {
        path: [one for one in those if _lives(one["pid"], written)] for path, those in known.get("read", {}).items()
    }
    writers = {path: one for path, one in known.get("write", {}).items() if _lives(one["pid"], written)}
    return {"read": {path: those for path, those in readers.items() if those}, "write": writers}


def _lives(number: int, written: float) -> bool:
    try:
        return bool(psutil.Process(number).create_time() <= written)
    except psutil.NoSuchProcess:
        return False

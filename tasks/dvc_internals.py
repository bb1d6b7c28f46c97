"""What rests on DVC's own wording and files, which no interface of it promises; as in DVC 3.67.1.

- What `dvc repro` prints about a stage that it skipped, restored or executed, and its advice for people.
- `.dvc/tmp/rwlock`, its list of the processes that read or write a path.
- The hash that `dvc.lock` holds of a folder.

`tests/tasks/test_dvc_internals.py` runs DVC and fails when one of them is different.
"""

import fcntl
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import psutil

from anime_lora.files import write_json
from tasks.errors import StageFailedError

Action = Literal["unchanged", "restored", "executed"]
UNCHANGED = "Stage '{}' didn't change, skipping"
MESSAGES: dict[str, Action] = {
    UNCHANGED: "unchanged",
    "Stage '{}' is cached - skipping run, checking out outputs": "restored",
    "Running stage '{}':": "executed",
}
ADVICE = (
    "To track the changes with git, run:",
    "git add dvc.lock",
    "To enable auto staging, run:",
    "dvc config core.autostage true",
    "Use `dvc push` to send your updates to remote storage.",
)
"""Meant for people at a prompt, so left out of the run's log."""
ERROR = "ERROR: "
RWLOCK = Path(".dvc/tmp/rwlock")
CLOCK_TOLERANCE = 2.0
"""Seconds by which a process may seem to start later than it did."""


def stage_action(stage: str, lines: list[str]) -> Action:
    """What DVC did with `stage`, from its output; the last of its messages counts.

    Raises:
        StageFailedError: the output has none of the three messages.
    """
    messages = {message.format(stage): action for message, action in MESSAGES.items()}
    actions = [messages[line] for line in lines if line in messages]
    if not actions:
        raise StageFailedError(f"dvc did not say what it did with {stage}: {' / '.join(lines[-3:]) or 'no output'}")
    return actions[-1]


def unchanged_in(output: str) -> list[str]:
    """Stages that the output of `dvc repro --dry` calls unchanged, in its order."""
    pattern = re.escape(UNCHANGED).replace(re.escape("{}"), "(.+)")
    return re.findall(f"^{pattern}$", output, flags=re.MULTILINE)


def file_md5(path: Path) -> str | None:
    """Hash of a file or of a folder with all files below it, as `dvc.lock` writes it; None where nothing is there.

    Args:
        path: of a folder, bytecode is left out, as `.dvcignore` says.
    """
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if not path.is_dir():
        return None
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    rows = [{"md5": file_md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listing = json.dumps(sorted(rows, key=lambda row: str(row["relpath"])), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def forget_dead_processes(rwlock: Path = RWLOCK) -> None:
    """Take processes that have ended out of DVC's list; a list that cannot be read is removed.

    DVC drops dead processes itself, but knows a process by its number only, which after a restart of the machine or
    container may be another program's. It also writes the list in place, so a kill can leave half of it, which DVC
    then does not read.

    To be called by the holder of the run lock. A `dvc` that a person started may be at work, and stays in the list.
    """
    if not rwlock.is_file():
        return
    with rwlock.with_name(f"{rwlock.name}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # DVC takes the same lock while it writes
        try:
            before = json.loads(rwlock.read_text(encoding="utf-8"))
            after = _alive_only(before, rwlock.stat().st_mtime + CLOCK_TOLERANCE)
        except (ValueError, TypeError, KeyError, AttributeError):
            rwlock.unlink()
            return
        if after != before:
            write_json(rwlock, after)


def _alive_only(entries: dict[str, Any], written: float) -> dict[str, Any]:
    """The list without processes that have ended or that started after it was written."""
    readers = {
        path: [reader for reader in those if _is_alive(reader["pid"], written)]
        for path, those in entries.get("read", {}).items()
    }
    writers = {path: writer for path, writer in entries.get("write", {}).items() if _is_alive(writer["pid"], written)}
    return {"read": {path: those for path, those in readers.items() if those}, "write": writers}


def _is_alive(pid: int, written: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() <= written)
    except psutil.NoSuchProcess:
        return False

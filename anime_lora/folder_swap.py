"""A folder replaced by a finished one, so that at every moment, that of a kill too, the old or the new one is there.

Where the system can, both exchange their names in one step. A folder that cannot be renamed, since a disk is mounted on
it, gets other contents: then a kill can leave a part of the new ones, and `finish` moves the rest in.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

NEW, SWAP, FINAL, OLD = ".new.tmp", ".swap.tmp", ".final.tmp", ".old.tmp"
"""Folders within a folder whose contents are exchanged: being written; complete; the old contents are out; those."""
INSIDE = (NEW, SWAP, FINAL, OLD)
NOT_MOVED = (*INSIDE, "lost+found")
"""Entries that are not moved; the last one is the file system's."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of Linux's renameat2(2)."""
NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
"""What the system or the file system answers when it cannot exchange names."""


def place_for_new(path: Path) -> Path:
    """Where the new folder is to be written: beside `path`, or inside where a rename cannot move it there."""
    fixed = os.path.ismount(path) or (path.is_dir() and not os.access(path.parent, os.W_OK))
    return path / NEW if fixed else path.with_name(f".{path.name}.tmp")


def swap(new: Path, path: Path) -> None:
    """Put the folder `new`, as `place_for_new` placed it, in the place of `path`; the old contents are deleted."""
    if new.parent == path:
        new.rename(path / SWAP)
    elif not path.exists():
        new.rename(path)
        return
    else:
        try:
            _replace(new, path)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:  # a folder of the same disk is mounted there, which `ismount` does not see
                raise
        shutil.move(new, path / NEW)
        (path / NEW).rename(path / SWAP)
    finish(path)


def _replace(new: Path, path: Path) -> None:
    aside = path.with_name(f".{path.name}.old.tmp")
    if _exchange(new, path):
        new.rename(aside)
    else:
        path.rename(aside)
        new.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where that cannot be done here."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux, or an old C library
        return False
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(second))


def finish(path: Path) -> None:
    """Finish what a kill cut short: the contents that were complete go in, those that were not are deleted."""
    aside = path.with_name(f".{path.name}.old.tmp")
    if aside.is_dir() and not path.exists():  # between the two renames
        aside.rename(path)
    if (path / SWAP).is_dir():
        (path / OLD).mkdir(exist_ok=True)
        for entry in sorted(_entries(path), key=Path.is_dir):  # what lists the files goes first and comes last
            entry.rename(path / OLD / entry.name)
        (path / SWAP).rename(path / FINAL)
    if (path / FINAL).is_dir():
        for entry in sorted(_entries(path / FINAL), key=Path.is_dir, reverse=True):
            entry.rename(path / entry.name)
        (path / FINAL).rmdir()
    for debris in (aside, path.with_name(f".{path.name}.tmp"), path / NEW, path / OLD):
        shutil.rmtree(debris, ignore_errors=True)


def _entries(path: Path) -> Iterator[Path]:
    return (entry for entry in path.iterdir() if entry.name not in NOT_MOVED)

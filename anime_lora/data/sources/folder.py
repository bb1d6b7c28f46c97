"""The files of a folder; linked folders are followed once, other links are not."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from anime_lora.data.sources.source_file import SourceFile, unread


def list_folder(source: str, folder: Path) -> Iterator[SourceFile]:
    """Its files; a link to a folder outside is followed, unless that would read a file twice or never end."""
    errors: list[OSError] = []
    roots = [folder.resolve()]
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        folders.sort()  # of two links to one folder it is always the same that is followed
        for name in list(folders):
            path = Path(place, name)
            if not path.is_symlink():
                continue
            target = path.resolve()
            if any(target.is_relative_to(root) or root.is_relative_to(target) for root in roots):
                folders.remove(name)
                reason = "a link to a folder that is read already, or that holds one which is"
                yield unread(source, path.relative_to(folder).as_posix(), "loop", reason)
            else:
                roots.append(target)
        above = Path(place).relative_to(folder).as_posix()
        for name in names:
            yield describe_file(source, name if above == "." else f"{above}/{name}", Path(place, name))
    for error in errors:
        path = Path(os.fsdecode(error.filename)).relative_to(folder)
        reason = f"a folder that cannot be read: {error.strerror}"
        yield unread(source, path.as_posix(), "unreadable", reason)


def describe_file(source: str, relative: str, path: Path) -> SourceFile:
    """A file of a folder, without opening it.

    Args:
        source: as it is called in lists.
        relative: its path in the folder.
        path: the file.
    """
    try:
        status = path.lstat()
    except OSError as error:
        return unread(source, relative, "unreadable", f"cannot be read: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        code = "link" if stat.S_ISLNK(status.st_mode) else "special"
        return unread(source, relative, code, "a link or special file: only plain files are read")
    return SourceFile(source, relative, status.st_size, path.read_bytes, path, version=str(status.st_mtime_ns))

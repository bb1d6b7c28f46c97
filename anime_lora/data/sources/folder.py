"""The files of a folder; linked folders are followed once, other links are not."""

import os
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
        for name in names:
            yield describe_file(source, folder, Path(place, name))
    for error in errors:
        path = Path(os.fsdecode(error.filename)).relative_to(folder)
        reason = f"a folder that cannot be read: {error.strerror}"
        yield unread(source, path.as_posix(), "unreadable", reason)


def describe_file(source: str, folder: Path, path: Path) -> SourceFile:
    """A file, by its path below `folder`."""
    relative = path.relative_to(folder).as_posix()
    try:
        if path.is_symlink():
            return unread(source, relative, "link", "a link or special file: only plain files are read")
        if not path.is_file():
            return unread(source, relative, "special", "a link or special file: only plain files are read")
        stat = path.stat()
    except OSError as error:
        return unread(source, relative, "unreadable", f"cannot be read: {error.strerror}")
    return SourceFile(source, relative, stat.st_size, path.read_bytes, path, version=str(stat.st_mtime_ns))

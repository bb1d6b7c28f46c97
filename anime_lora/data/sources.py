"""Files of a source: a folder, an archive, or an fsspec URL. Nothing is changed, nothing is unpacked to disk."""

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec

from anime_lora.errors import SourceError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MARKS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")
"""Names under which remote file systems say that a file has changed, the best first."""


@dataclass(frozen=True)
class Entry:
    """One file of a source. `problem` says why it must not be read; `read` gives its bytes.

    `mark` differs when the content may differ: time of change, or a remote's etag; None where nothing tells.
    """

    source: str
    path: str
    size: int
    read: Callable[[], bytes]
    local: Path | None = None
    problem: str | None = None
    mark: str | None = None


def entries(source: str, max_files: int, max_ratio: float) -> list[Entry]:
    """All files of `source`, sorted by path.

    Raises:
        SourceError: it does not exist, cannot be read, or holds more than `max_files`.
    """
    found: list[Entry] = []
    for entry in _open(source, max_ratio):
        found.append(entry)
        if len(found) > max_files:
            raise SourceError(
                f"{source}: more than ingest.max_files = {max_files} files; raise the limit or split the source"
            )
    return sorted(found, key=lambda entry: entry.path)


def _open(source: str, max_ratio: float) -> Iterator[Entry]:
    if "://" in source:
        return _remote(source)
    path = Path(source)
    if path.is_dir():
        return _folder(source, path)
    if path.is_file() and source.lower().endswith(".zip"):
        return _zip(source, path, max_ratio)
    if path.is_file() and source.lower().endswith(ARCHIVES):
        return _tar(source, path, max_ratio)
    kind = "is neither a folder nor an archive" if path.exists() else "does not exist"
    raise SourceError(
        f"{source} {kind}: ingest.sources takes folders, {', '.join(ARCHIVES)} or fsspec URLs such as s3://bucket/faces"
    )


def _folder(source: str, folder: Path) -> Iterator[Entry]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                yield Entry(source, relative, 0, bytes, problem="a link or special file: only plain files are read")
            else:
                facts = path.stat()
                yield Entry(source, relative, facts.st_size, path.read_bytes, path, mark=str(facts.st_mtime_ns))


def _remote(url: str) -> Iterator[Entry]:
    try:
        system, root = fsspec.core.url_to_fs(url)
        files = system.find(root, detail=True)
    except Exception as error:  # every fsspec backend has its own errors
        raise SourceError(f"{url} cannot be listed: {type(error).__name__}: {error}") from error
    if not files:
        raise SourceError(f"{url} does not exist or holds no files")
    for path, facts in files.items():
        relative = path.removeprefix(root).lstrip("/") or PurePosixPath(path).name
        mark = next((str(facts[name]) for name in MARKS if facts.get(name)), None)
        yield Entry(url, relative, int(facts.get("size") or 0), partial(system.cat_file, path), mark=mark)


def _unsafe(name: str) -> str | None:
    """Why an archive member's name is refused, or None."""
    path = PurePosixPath(name.replace("\\", "/"))
    return (
        "an absolute or `..` name in an archive"
        if path.is_absolute() or ".." in path.parts or ":" in name[:3]
        else None
    )


def _zip(source: str, path: Path, max_ratio: float) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{source} cannot be opened as .zip: {error}") from error
    mark = str(path.stat().st_mtime_ns)
    for member in archive.infolist():
        if member.is_dir():
            continue
        problem = _unsafe(member.filename)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            problem = "a link in an archive"
        if member.file_size > max_ratio * max(member.compress_size, 1):
            problem = f"grows more than ingest.max_archive_ratio = {max_ratio:g} times when unpacked"
        yield Entry(source, member.filename, member.file_size, lambda m=member: archive.read(m), None, problem, mark)  # type: ignore[misc]


def _tar(source: str, path: Path, max_ratio: float) -> Iterator[Entry]:
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - its members are read later, by the entries
        members = archive.getmembers()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{source} cannot be opened as .tar: {error}") from error
    grown = sum(member.size for member in members) > max_ratio * path.stat().st_size
    mark = str(path.stat().st_mtime_ns)
    for member in members:
        if member.isdir():
            continue
        problem = _unsafe(member.name)
        if not member.isfile():
            problem = "a link or special file in an archive"
        elif grown:
            problem = f"its archive grows more than ingest.max_archive_ratio = {max_ratio:g} times when unpacked"
        yield Entry(source, member.name, member.size, lambda m=member: _member(archive, m), None, problem, mark)  # type: ignore[misc]


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""

"""The files of a source, which is a folder, an archive or an fsspec URL; nothing is changed or unpacked to disk."""

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec

from anime_lora.config.data import Ingest
from anime_lora.errors import SourceError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")
"""Names under which remote file systems say that a file has changed, the best first."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: a file on disk, a member of an archive, or a remote object."""

    source: str
    path: str
    """Relative to the source, with slashes."""
    size: int
    """Bytes, unpacked."""
    read: Callable[[], bytes]
    """Gives its content."""
    local: Path | None = None
    """Where it lies on disk; None of archives' members and remote objects."""
    problem: str | None = None
    """Why it must not be read."""
    version: str | None = None
    """Differs when the content may differ: time of change, or a remote's etag; None where nothing tells."""


def list_all(section: Ingest) -> list[SourceFile]:
    """The files of every source of `ingest.sources`, source by source.

    Raises:
        SourceError: as `list_files`.
    """
    return [
        file for source in section.sources for file in list_files(source, section.max_files, section.max_archive_ratio)
    ]


def list_files(source: str, max_files: int, max_ratio: float) -> list[SourceFile]:
    """All files of `source`, sorted by path.

    Raises:
        SourceError: it does not exist, cannot be read, or holds more than `max_files`.
    """
    files: list[SourceFile] = []
    for file in _open(source, max_ratio):
        files.append(file)
        if len(files) > max_files:
            raise SourceError(
                f"{source}: more than ingest.max_files = {max_files} files; raise the limit or split the source"
            )
    return sorted(files, key=lambda file: file.path)


def _open(source: str, max_ratio: float) -> Iterator[SourceFile]:
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


def _folder(source: str, folder: Path) -> Iterator[SourceFile]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                yield SourceFile(
                    source, relative, 0, bytes, problem="a link or special file: only plain files are read"
                )
            else:
                stat = path.stat()
                yield SourceFile(source, relative, stat.st_size, path.read_bytes, path, version=str(stat.st_mtime_ns))


def _remote(url: str) -> Iterator[SourceFile]:
    try:
        system, root = fsspec.core.url_to_fs(url)
        files = system.find(root, detail=True)
    except Exception as error:  # every fsspec backend has its own errors
        raise SourceError(f"{url} cannot be listed: {type(error).__name__}: {error}") from error
    if not files:
        raise SourceError(f"{url} does not exist or holds no files")
    for path, info in files.items():
        relative = path.removeprefix(root).lstrip("/") or PurePosixPath(path).name
        version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
        yield SourceFile(url, relative, int(info.get("size") or 0), partial(system.cat_file, path), version=version)


def _name_problem(name: str) -> str | None:
    """Why a member of this name must not be unpacked; None where it may."""
    path = PurePosixPath(name.replace("\\", "/"))
    return (
        "an absolute or `..` name in an archive"
        if path.is_absolute() or ".." in path.parts or ":" in name[:3]
        else None
    )


def _zip(source: str, path: Path, max_ratio: float) -> Iterator[SourceFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{source} cannot be opened as .zip: {error}") from error
    version = str(path.stat().st_mtime_ns)
    for member in archive.infolist():
        if member.is_dir():
            continue
        problem = _name_problem(member.filename)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            problem = "a link in an archive"
        if member.file_size > max_ratio * max(member.compress_size, 1):
            problem = f"grows more than ingest.max_archive_ratio = {max_ratio:g} times when unpacked"
        read = partial(archive.read, member)
        yield SourceFile(source, member.filename, member.file_size, read, problem=problem, version=version)


def _tar(source: str, path: Path, max_ratio: float) -> Iterator[SourceFile]:
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - its members are read later
        members = archive.getmembers()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{source} cannot be opened as .tar: {error}") from error
    # tar has no compressed size of a member: the archive is taken or rejected as a whole
    grown = sum(member.size for member in members) > max_ratio * path.stat().st_size
    version = str(path.stat().st_mtime_ns)
    for member in members:
        if member.isdir():
            continue
        problem = _name_problem(member.name)
        if not member.isfile():
            problem = "a link or special file in an archive"
        elif grown:
            problem = f"its archive grows more than ingest.max_archive_ratio = {max_ratio:g} times when unpacked"
        read = partial(_read_member, archive, member)
        yield SourceFile(source, member.name, member.size, read, problem=problem, version=version)


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""

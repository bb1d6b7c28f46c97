"""The files of a source, which is a folder, an archive or an fsspec URL; nothing is changed or unpacked to disk."""

import os
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec

from anime_lora.config.data import Ingest
from anime_lora.errors import SourceError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")
"""Names under which remote file systems say that a file has changed, the best first."""
JUNK = (".ds_store", "thumbs.db", "desktop.ini")
"""Names, in lower case, of files that file managers leave in every folder."""
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that a name in a list cannot hold: control characters, half surrogates (bytes that are no UTF-8),
line and paragraph separators."""


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
    return sorted((replace(file, path=printable(file.path)) for file in files), key=lambda file: file.path)


def is_junk(path: str) -> bool:
    """Whether a file was left by a file manager or is a cache of another trainer: no image, and nobody's mistake."""
    name = PurePosixPath(path).name.lower()
    return name in JUNK or name.startswith("._") or name.endswith(".npz") or "__MACOSX" in PurePosixPath(path).parts


def printable(name: str) -> str:
    r"""The name with what no list can hold escaped: `\x83` for a byte that is no UTF-8, `\n`, `\u2028`."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in UNPRINTABLE else character for character in name
    )


def _escaped(character: str) -> str:
    """`os.fsdecode` makes the surrogates U+DC80-DCFF of bytes that are no UTF-8."""
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else ascii(character)[1:-1]


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
    """Its files; a link to a folder outside is followed, unless that would read a file twice or never end."""
    errors: list[OSError] = []
    roots = [folder.resolve()]
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        for name in sorted(folders):
            path = Path(place, name)
            if not path.is_symlink():
                continue
            target = path.resolve()
            if any(target.is_relative_to(root) or root.is_relative_to(target) for root in roots):
                folders.remove(name)
                problem = "a link to a folder that is read already, or that holds one which is"
                yield SourceFile(source, path.relative_to(folder).as_posix(), 0, bytes, problem=problem)
            else:
                roots.append(target)
        for name in names:
            yield _plain_file(source, folder, Path(place, name))
    for error in errors:
        path = Path(os.fsdecode(error.filename)).relative_to(folder)
        problem = f"a folder that cannot be read: {error.strerror}"
        yield SourceFile(source, path.as_posix(), 0, bytes, problem=problem)


def _plain_file(source: str, folder: Path, path: Path) -> SourceFile:
    relative = path.relative_to(folder).as_posix()
    try:
        if path.is_symlink() or not path.is_file():
            problem = "a link or special file: only plain files are read"
            return SourceFile(source, relative, 0, bytes, problem=problem)
        stat = path.stat()
    except OSError as error:
        return SourceFile(source, relative, 0, bytes, problem=f"cannot be read: {error.strerror}")
    return SourceFile(source, relative, stat.st_size, path.read_bytes, path, version=str(stat.st_mtime_ns))


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
    if not path.name:
        return "an empty name in an archive"
    return (
        "an absolute or `..` name in an archive"
        if path.is_absolute() or ".." in path.parts or ":" in name[:3]
        else None
    )


def _zip(source: str, path: Path, max_ratio: float) -> Iterator[SourceFile]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # of a damaged directory also struct.error, ValueError, NotImplementedError
        raise SourceError(f"{source} cannot be opened as .zip: {error}") from error
    version = str(path.stat().st_mtime_ns)
    for member in archive.infolist():
        if member.is_dir():
            continue
        problem = _name_problem(member.filename)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            problem = "a link in an archive"
        if member.flag_bits & 1:
            problem = "encrypted: unpack the archive with its password"
        if member.file_size > max_ratio * max(member.compress_size, 1):
            problem = f"grows more than ingest.max_archive_ratio = {max_ratio:g} times when unpacked"
        read = partial(archive.read, member)
        yield SourceFile(source, member.filename, member.file_size, read, problem=problem, version=version)


def _tar(source: str, path: Path, max_ratio: float) -> Iterator[SourceFile]:
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - its members are read later
    except Exception as error:  # the decompressors have errors of their own
        raise SourceError(f"{source} cannot be opened as .tar: {error}") from error
    members, damage = _members(archive)
    if damage and not members:
        raise SourceError(f"{source} cannot be opened as .tar: {damage}")
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
    if damage:
        problem = f"the archive is damaged after {len(members)} members, what follows is lost: {damage}"
        yield SourceFile(source, path.name, path.stat().st_size, bytes, problem=problem, version=version)


def _members(archive: tarfile.TarFile) -> tuple[list[tarfile.TarInfo], str | None]:
    """The members up to the archive's end or its first damage, and what the damage is.

    tarfile takes a header that is none as the end: a true one is a block of zeros, or nothing.
    """
    members: list[tarfile.TarInfo] = []
    try:
        while (member := archive.next()) is not None:
            members.append(member)
        if archive.fileobj is not None:
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                return members, "a member's head is no head"
    except Exception as error:  # the decompressors have errors of their own
        return members, str(error) or type(error).__name__
    return members, None


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""

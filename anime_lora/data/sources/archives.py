"""The members of a .zip or .tar, and what makes one unsafe; an archive that cannot be opened is a row of its own."""

import tarfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from anime_lora.data.captions.encodings import UnreadableError, decode_text
from anime_lora.data.sources.source_file import Problem, SourceFile, unread
from anime_lora.errors import BadImageError

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
UTF_8_NAME = 0x800
"""The flag of a zip's member whose name is UTF-8; without it the name is in whatever its system used."""


@dataclass(frozen=True)
class Limits:
    """What is let in of one source."""

    max_files: int
    max_ratio: float
    """How many times an archive may grow."""
    max_file_mb: float = 50.0
    """MiB of one file, where its size is not known before it is read."""


def list_archive(source: str, path: Path, limits: Limits, version: str | None = None) -> Iterator[SourceFile]:
    """Its members, one row for all of it where it cannot be opened, and one more where it is damaged further on.

    Args:
        source: as it is called in lists.
        path: the file on disk; its name says what it is.
        limits: of growth and of members.
        version: of the archive, where the time of its change says nothing.
    """
    try:
        version = version or str(path.stat().st_mtime_ns)
        if path.name.lower().endswith(".zip"):
            yield from _list_zip(source, path, limits, version)
        else:
            yield from _list_tar(source, path, limits, version)
    except MemoryError:
        yield unread(source, path.name, "memory", "there is not enough memory to open it")
    except OSError as error:
        yield unread(source, path.name, "unreadable", f"cannot be read: {error.strerror or error}")


def _list_zip(source: str, path: Path, limits: Limits, version: str) -> Iterator[SourceFile]:
    try:
        archive = zipfile.ZipFile(path)
    except PermissionError:
        raise
    except Exception as error:  # of a damaged directory also struct.error, ValueError, NotImplementedError
        yield unread(source, path.name, "damaged", f"cannot be opened as .zip: {error}", path.stat().st_size)
        return
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member, name in zip(members, _names(members), strict=True):
        problem = _name_problem(name)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            problem = Problem("link", "a link in an archive")
        if member.flag_bits & 1:
            problem = Problem("encrypted", "encrypted: unpack the archive with its password")
        if member.compress_type not in METHODS:
            problem = Problem(
                "format", f"compressed by method {member.compress_type}, which is not read here: pack it anew"
            )
        if member.file_size > limits.max_ratio * max(member.compress_size, 1):
            problem = _bomb(limits)
        read = partial(_unpack, partial(archive.read, member))
        place = member.header_offset
        yield SourceFile(source, name, member.file_size, read, problem=problem, version=version, place=place)
    if not members:
        yield unread(source, path.name, "damaged", "an archive without files", path.stat().st_size)


def _names(members: list[zipfile.ZipInfo]) -> list[str]:
    """The members' names; those that are not marked as UTF-8 are decoded together, since one system wrote them.

    zipfile reads such names as code page 437, which loses nothing: the bytes are taken from there.
    """
    unmarked = [one.filename for one in members if not one.flag_bits & UTF_8_NAME and not one.filename.isascii()]
    try:
        text = decode_text("\n".join(unmarked).encode("cp437")).text
    except (UnreadableError, UnicodeEncodeError):
        return [one.filename for one in members]
    names = text.split("\n")
    decoded = dict(zip(unmarked, names, strict=True)) if len(names) == len(unmarked) else {}
    return [decoded.get(one.filename, one.filename) for one in members]


def _list_tar(source: str, path: Path, limits: Limits, version: str) -> Iterator[SourceFile]:
    size = path.stat().st_size
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - its members are read later
    except PermissionError:
        raise
    except Exception:  # the decompressors have errors of their own; tarfile's message is what each of them says
        reason = "cannot be opened as .tar: it is none, or damaged where it begins"
        yield unread(source, path.name, "damaged", reason, size)
        return
    if archive.fileobj is not None:
        weakref.finalize(archive, archive.fileobj.close)  # its files may be read as long as they are listed
    # tar has no compressed size of a member: the archive is taken or rejected as a whole
    most = limits.max_ratio * size
    members, damage = _members(archive, limits.max_files, most)
    grown = sum(member.size for member in members) > most
    files = [member for member in members if not member.isdir()]
    for place, member in enumerate(files):
        problem = _name_problem(member.name)
        if not member.isfile():
            problem = Problem("link", "a link or special file in an archive")
        elif grown:
            problem = _bomb(limits)
        read = partial(_unpack, partial(_read_member, archive, member))
        yield SourceFile(source, member.name, member.size, read, problem=problem, version=version, place=place)
    if damage:
        reason = f"the archive is damaged after {len(members)} members, what follows is lost: {damage}"
        yield unread(source, path.name, "damaged", reason, size)
    elif grown:
        yield unread(source, path.name, "bomb", f"{_bomb(limits).reason}: what follows is not looked at", size)
    elif not files:
        yield unread(source, path.name, "damaged", "an archive without files", size)


def _bomb(limits: Limits) -> Problem:
    return Problem("bomb", f"grows more than ingest.max_archive_ratio = {limits.max_ratio:g} times when unpacked")


def _name_problem(name: str) -> Problem | None:
    """Why a member of this name must not be unpacked; None where it may."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name:
        return Problem("name", "an empty name in an archive")
    if path.is_absolute() or ".." in path.parts or ":" in name[:3]:
        return Problem("name", "an absolute or `..` name in an archive")
    return None


def _members(archive: tarfile.TarFile, count: int, size: float) -> tuple[list[tarfile.TarInfo], str | None]:
    """The members up to the archive's end or its first damage, and what the damage is.

    It stops with the first member past `count` members or `size` bytes. tarfile takes a header that is none as the
    end: a true one is a block of zeros, or nothing.
    """
    members: list[tarfile.TarInfo] = []
    total = 0
    try:
        while len(members) <= count and total <= size:
            member = archive.next()
            if member is None:
                return members, _damaged_end(archive)
            members.append(member)
            total += member.size
    except Exception as error:  # the decompressors have errors of their own
        return members, str(error) or type(error).__name__
    return members, None


def _damaged_end(archive: tarfile.TarFile) -> str | None:
    if archive.fileobj is not None:
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            return "a member's head is no head"
    return None


def _unpack(read: Callable[[], bytes]) -> bytes:
    """What `read` gives.

    Raises:
        BadImageError: the member is damaged; the decompressors have errors of their own.
        OSError: the archive cannot be read now.
    """
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise BadImageError(str(error) or type(error).__name__) from None


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""

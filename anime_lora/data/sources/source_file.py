"""One file of a source, and its name as lists hold it."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that a name in a list cannot hold: control characters, half surrogates (bytes that are no UTF-8),
line and paragraph separators."""


@dataclass(frozen=True)
class Problem:
    """Why a file must not be read, or cannot be."""

    code: str
    """In a word: `link`, `loop`, `special`, `unreadable`, `encrypted`, `name`, `bomb` or `damaged`."""
    reason: str
    """In a sentence."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: a file on disk, a member of an archive, or a remote object."""

    source: str
    path: str
    """Relative to the source, with slashes."""
    size: int
    """Bytes, unpacked; 0 where a server does not tell."""
    read: Callable[[], bytes]
    """Gives its content."""
    local: Path | None = None
    """Where it lies on disk; None of archives' members and remote objects."""
    problem: Problem | None = None
    """Why it must not be read."""
    version: str | None = None
    """Differs when the content may differ: time of change, or a remote's etag; None where nothing tells."""
    place: int = 0
    """Where it lies in its archive: reading in this order never goes back."""


def unread(source: str, path: str, code: str, reason: str, size: int = 0) -> SourceFile:
    """A file, folder or archive that is listed with the reason why nothing of it is read."""
    return SourceFile(source, path, size, bytes, problem=Problem(code, " ".join(reason.split())))


def stem(path: str) -> str:
    """A file's path without its suffix: what a sidecar is matched by.

    As `PurePosixPath.with_suffix("")`, which takes four times as long.
    """
    return path[: len(path) - len(suffix(path))]


def suffix(path: str) -> str:
    """What follows the last dot of a file's name, in lower case, with the dot; empty where nothing does."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def printable(name: str) -> str:
    r"""The name with what no list can hold escaped: `\x83` for a byte that is no UTF-8, `\n`, `\u2028`."""
    if name.isprintable():  # nearly all are: this is quicker than to look at each character
        return name
    return "".join(
        _escaped(character) if unicodedata.category(character) in UNPRINTABLE else character for character in name
    )


def _escaped(character: str) -> str:
    """`os.fsdecode` makes the surrogates U+DC80-DCFF of bytes that are no UTF-8."""
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else ascii(character)[1:-1]

"""An archive behind a URL, as a file on disk that is fetched again only when the server says that it changed."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from anime_lora.config import paths
from anime_lora.data.sources.source_file import printable
from anime_lora.files import sha256_file, write_json

CACHE = paths.CACHE / "downloads"


@dataclass(frozen=True)
class Version:
    """What a server says of a file's version; empty where it says nothing."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class Download:
    """A file on disk and what tells whether its content may differ from another time's."""

    path: Path
    version: str


def download(url: str, name: str, fetch: Callable[[Path, Version], Version | None]) -> Download:
    """The content of `url` below the cache.

    Args:
        url: whole; only its hash is in the path.
        name: of the file; its suffix says what it is.
        fetch: writes the content into a file and returns its version, or None where the version given is the latest.
    """
    folder = CACHE / hashlib.sha256(url.encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    path, head = folder / PurePosixPath(printable(name)).name[-100:], folder / "version.json"
    known = _read_version(head) if path.is_file() else Version()
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        new = fetch(beside, known)
        if new is not None:
            head.unlink(missing_ok=True)
            beside.replace(path)
            write_json(head, asdict(new))
    finally:
        beside.unlink(missing_ok=True)
    latest = new or known
    return Download(path, latest.etag or latest.last_modified or f"sha256:{sha256_file(path)}")


def _read_version(head: Path) -> Version:
    try:
        return TypeAdapter(Version).validate_json(head.read_bytes())
    except (OSError, ValidationError):
        return Version()

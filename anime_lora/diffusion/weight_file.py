"""Whether a file of weights is what its name says: its kind by the first bytes, and the header of safetensors.

Without torch, so that a preflight can ask; every room that opens weights comes through `read_header`.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

from anime_lora.errors import AdapterError

START = 4096
"""Bytes from which the kind of a file is told."""
LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself refuses a longer one."""
PICKLED = {".ckpt", ".bin", ".pt", ".pth", ".pkl"}
PICKLE = (
    "a pickle, which can run code when it is opened, and is refused: look for the .safetensors file, or convert it on "
    "a machine you can afford to lose"
)
UNPACK = "unpack it and name the .safetensors file in it"
DOWNLOAD = "download the file itself"
MAGIC = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file: run `git lfs pull` in its repository"),
    (b"GGUF", f"a GGUF file (weights of another program): {DOWNLOAD} as .safetensors"),
    (b"\x89PNG", f"a PNG image, perhaps the preview: {DOWNLOAD}"),
    (b"\xff\xd8\xff", f"a JPEG image, perhaps the preview: {DOWNLOAD}"),
    (b"RIFF", f"a WebP image, perhaps the preview: {DOWNLOAD}"),
    (b"\x1f\x8b", f"a gzip archive: {UNPACK}"),
    (b"7z\xbc\xaf", f"a 7z archive: {UNPACK}"),
    (b"Rar!", f"a RAR archive: {UNPACK}"),
    (b"%PDF", f"a PDF: {DOWNLOAD}"),
)
"""How files of other kinds begin, and what is said of them."""
WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<script", b"<error")


@dataclass(frozen=True)
class TensorEntry:
    """A header's description of one tensor."""

    dtype: str
    """As the format writes it: F32, F16, …"""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What stands before the data of a safetensors file."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]
    """By name, in the file's order."""


def read_header(path: Path) -> Header:
    """The header of a safetensors file; none of its data is read.

    Raises:
        AdapterError: the file is not there, is something else, or is cut short; says what it is and what to do.
    """
    if path.is_dir():
        raise AdapterError(f"{path} is a folder: name the .safetensors file in it")
    if not path.is_file():
        raise AdapterError(f"{path} is not there: correct its name or folder")
    try:
        kind = foreign_kind(path)
        if kind is not None:
            raise AdapterError(f"{path} is {kind}")
        return _header(path)
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise AdapterError(f"{path} cannot be read as safetensors: {error}; download or copy it again") from error


def _header(path: Path) -> Header:
    size = path.stat().st_size
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(size - 8, LONGEST_HEADER):
            raise ValueError(
                f"its header is longer than the file ({size} bytes)"
                if length <= LONGEST_HEADER
                else "it has no safetensors header"
            )
        entries = json.loads(stream.read(length))
    metadata = entries.pop("__metadata__", None) or {}
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise ValueError("its metadata are not texts")
    needed = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if needed > size:
        raise ValueError(f"its data is cut short ({size} of {needed} bytes are there)")
    if needed < size:
        raise ValueError(f"{size - needed} bytes too many stand behind its data")
    tensors = {name: TensorEntry(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    return Header(metadata, tensors)


def foreign_kind(path: Path) -> str | None:
    """What a file is when it is plainly no safetensors file, and what to do; None when it may be one."""
    with path.open("rb") as stream:
        start = stream.read(START)
    if not start:
        return "empty: the download or copy failed, repeat it"
    if len(start) >= 9 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= LONGEST_HEADER:
        return None
    if not start.strip(b"\0"):
        return "all zeros at its start: a download that never finished, repeat it"
    return _binary_kind(start, path.suffix) or _text_kind(start) or (PICKLE if path.suffix in PICKLED else None)


def _binary_kind(start: bytes, suffix: str) -> str | None:
    """What a file is by the magic bytes it begins with."""
    if start.startswith(b"PK"):
        return PICKLE if b".pkl" in start or suffix in PICKLED else f"a zip archive: {UNPACK}"
    if start[:1] == b"\x80" and start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return PICKLE
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), None)


def _text_kind(start: bytes) -> str | None:
    """What a file is whose first bytes are text."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith(WEB_PAGE):
        return f"a web page saved under this name (a login or an error, not the file behind it): {DOWNLOAD}"
    if b"\0" in start or len(start) < 9:
        return None
    try:
        excerpt = " ".join(start.decode("utf-8", "strict" if len(start) < START else "ignore").split())[:60]
    except UnicodeDecodeError:
        return None
    kind = "JSON" if text[:1] in {b"{", b"["} else "plain text"
    return f"{kind} (`{excerpt}`), perhaps an error message of a server: {DOWNLOAD}"


def data_hash(path: Path) -> str:
    """Hex sha256 of the bytes after the header: what webuis know a LoRA by."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        stream.seek(8 + length)
        return hashlib.file_digest(stream, "sha256").hexdigest()

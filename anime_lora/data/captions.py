"""Captions beside images: `.txt`, `.caption`, `metadata.jsonl`, or a tagger's csv."""

import codecs
import csv
import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from charset_normalizer import from_bytes

from anime_lora.data.sources import SourceFile

TEXT = (".txt", ".caption")
TABLES = ("metadata.jsonl", ".csv")
NOTES = (".jsonl", ".json", ".md")
"""Suffixes of files that lie beside images and are none; of these only metadata.jsonl is read."""
PRECEDENCE = (".csv", ".jsonl", ".txt", ".caption")
"""A later one wins: a caption file of the image's own over a table."""
MAX_BYTES = 64 << 20
TAG_COLUMNS = ("tags", "tag", "caption", "text", "tag_string")
NAME_COLUMNS = ("filename", "file_name", "file", "image", "path", "name")
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ENCODINGS = ("cp932", "gb18030", "cp1252", "latin-1")
"""What captions are written in beside Unicode."""


@dataclass(frozen=True)
class Caption:
    """What an image is said to show, and the file of the source that says so."""

    text: str
    file: str


@dataclass(frozen=True)
class Captions:
    """What the sidecars of a source say."""

    by_image: dict[str, Caption] = field(default_factory=dict)
    """By the image's path without suffix."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why a sidecar was passed over, by its path."""


class UnreadableError(Exception):
    """A sidecar that holds no captions that can be read; the message is the reason."""


def is_sidecar(path: str) -> bool:
    """Whether a file holds captions (or notes) rather than an image."""
    return PurePosixPath(path).name.lower().endswith((*TEXT, *TABLES, *NOTES))


def stem(path: str) -> str:
    """An image's path without its suffix: what a sidecar is matched by."""
    return str(PurePosixPath(path).with_suffix("")) if PurePosixPath(path).name else path


def read_captions(files: list[SourceFile]) -> Captions:
    """The captions among the files of a source; a sidecar that cannot be read is named and passed over."""
    captions = Captions()
    for file in sorted((file for file in files if is_sidecar(file.path)), key=_precedence):
        if not file.path.lower().endswith((*TEXT, *TABLES)):
            continue
        try:
            captions.by_image.update({image: Caption(text, file.path) for image, text in _read(file) if text})
        except Exception as error:  # archives and remote file systems have errors of their own
            captions.unreadable[file.path] = str(error) or type(error).__name__
    return captions


def _precedence(file: SourceFile) -> tuple[int, str]:
    suffix = PurePosixPath(file.path).suffix.lower()
    return (PRECEDENCE.index(suffix) if suffix in PRECEDENCE else -1, file.path)


def _read(file: SourceFile) -> list[tuple[str, str]]:
    """Stem and caption of each image that a sidecar speaks of.

    Raises:
        UnreadableError: it must not be read, is no text, or no table.
    """
    if file.problem:
        raise UnreadableError(file.problem)
    if file.size > MAX_BYTES:
        raise UnreadableError(f"{file.size / 2**20:.1f} MiB, more than {MAX_BYTES >> 20} MiB")
    path, text = PurePosixPath(file.path), decode_text(file.read())
    if path.suffix.lower() in TEXT:
        return [(stem(file.path), _one_line(text))]
    rows = _json_rows(text) if path.suffix.lower() == ".jsonl" else _csv_rows(text)
    captions = []
    for row in rows:
        cells = {str(key).lower(): value for key, value in row.items()}
        name = _first(cells, NAME_COLUMNS)
        image = _beside(path, name)
        if PurePosixPath(name).name and PurePosixPath(image).name:
            captions.append((stem(image), _one_line(_first(cells, TAG_COLUMNS))))
    return captions


def decode_text(content: bytes) -> str:
    """Text in the encoding it is in: by its byte order mark, UTF-8, or the likeliest of `ENCODINGS`.

    Raises:
        UnreadableError: none fits.
    """
    encoding = next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        best = from_bytes(content, cp_isolation=list(ENCODINGS)).best()
        if best is None:
            raise UnreadableError(f"no text in UTF-8, UTF-16, {', '.join(ENCODINGS)}") from None
        text = str(best)
    if "\0" in text:
        raise UnreadableError("no text: it holds zero bytes")
    return text


def _beside(table: PurePosixPath, image: str) -> str:
    """The path in the source that a table means: relative to its folder, with slashes, without `.`."""
    return posixpath.normpath(table.parent / image.strip().replace("\\", "/"))


def _csv_rows(text: str) -> Iterator[Mapping[str, object]]:
    """The rows of a table with a head line.

    Raises:
        UnreadableError: it cannot be parsed.
    """
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise UnreadableError(f"no table: {error}") from error


def _json_rows(text: str) -> Iterator[Mapping[str, object]]:
    """The objects among the lines; other lines are passed over.

    Raises:
        UnreadableError: a line is nested too deeply.
    """
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        except RecursionError:
            raise UnreadableError("no table: a line is nested too deeply") from None
        if isinstance(row, dict):
            yield row


def _first(cells: Mapping[str, object], columns: tuple[str, ...]) -> str:
    """The first of the columns that is not empty; a list of tags is joined by commas.

    Raises:
        UnreadableError: it holds half of a surrogate pair, which no encoding can write.
    """
    value = next((cells[name] for name in columns if cells.get(name)), "")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnreadableError(f"no text: {text[:40]!a} holds half of a surrogate pair")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())

"""Captions beside images: `.txt`, `.caption`, `metadata.jsonl`, or a tagger's csv."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

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


@dataclass(frozen=True)
class Caption:
    """What an image is said to show, and the file of the source that says so."""

    text: str
    file: str


def is_sidecar(path: str) -> bool:
    """Whether a file holds captions (or notes) rather than an image."""
    return PurePosixPath(path).name.lower().endswith((*TEXT, *TABLES, *NOTES))


def stem(path: str) -> str:
    """An image's path without its suffix: what a sidecar is matched by."""
    return str(PurePosixPath(path).with_suffix(""))


def read_captions(files: list[SourceFile]) -> dict[str, Caption]:
    """The captions among the files of a source, by the image's path without suffix."""
    captions: dict[str, Caption] = {}
    sidecars = [file for file in files if is_sidecar(file.path) and not file.problem and file.size <= MAX_BYTES]
    for file in sorted(sidecars, key=_precedence):
        captions |= {image: Caption(text, file.path) for image, text in _read(file) if text}
    return captions


def _precedence(file: SourceFile) -> tuple[int, str]:
    suffix = PurePosixPath(file.path).suffix.lower()
    return (PRECEDENCE.index(suffix) if suffix in PRECEDENCE else -1, file.path)


def _read(file: SourceFile) -> Iterator[tuple[str, str]]:
    """Stem and caption of each image that a sidecar speaks of."""
    path = PurePosixPath(file.path)
    if path.suffix.lower() in TEXT:
        yield stem(file.path), _one_line(file.read().decode("utf-8", errors="replace"))
    elif path.name.lower().endswith(TABLES):
        text = file.read().decode("utf-8-sig", errors="replace")
        for row in _json_rows(text) if path.suffix.lower() == ".jsonl" else csv.DictReader(io.StringIO(text)):
            cells = {str(key).lower(): value for key, value in row.items()}
            if image := _first(cells, NAME_COLUMNS):
                yield stem(str(path.parent / image)), _one_line(_first(cells, TAG_COLUMNS))


def _json_rows(text: str) -> Iterator[Mapping[str, object]]:
    """The objects among the lines; other lines are passed over."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            yield row


def _first(cells: Mapping[str, object], columns: tuple[str, ...]) -> str:
    """The first of the columns that is not empty."""
    return next((str(cells[name]) for name in columns if cells.get(name)), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())

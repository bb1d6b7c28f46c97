"""Captions beside images: `.txt`, `.caption`, `metadata.jsonl`, or a tagger's csv."""

import csv
import io
import json
from pathlib import PurePosixPath

from anime_lora.data.sources import Entry

TEXT = (".txt", ".caption")
TABLES = ("metadata.jsonl", ".csv")
MAX_BYTES = 64 << 20
TAG_COLUMNS = ("tags", "tag", "caption", "text", "tag_string")
NAME_COLUMNS = ("filename", "file_name", "file", "image", "path", "name")


def is_sidecar(path: str) -> bool:
    """Whether a file holds captions (or notes) rather than an image."""
    name = PurePosixPath(path).name.lower()
    return name.endswith((*TEXT, ".csv", ".jsonl", ".json", ".md"))


def captions(found: list[Entry]) -> dict[str, tuple[str, str]]:
    """Caption and the file it came from, by the image's path without suffix; its own file wins over a table."""
    known: dict[str, tuple[str, str]] = {}
    ranked = sorted((entry for entry in found if is_sidecar(entry.path) and not entry.problem), key=_rank)
    for entry in ranked:
        if entry.size > MAX_BYTES:
            continue
        for stem, caption in _read(entry):
            if caption:
                known[stem] = (caption, entry.path)
    return known


def _rank(entry: Entry) -> tuple[int, str]:
    order = {".csv": 0, ".jsonl": 1, ".txt": 2, ".caption": 3}
    return (order.get(PurePosixPath(entry.path).suffix.lower(), -1), entry.path)


def stem(path: str) -> str:
    """An image's path without its suffix: what a sidecar is matched by."""
    return str(PurePosixPath(path).with_suffix(""))


def _read(entry: Entry) -> list[tuple[str, str]]:
    name = PurePosixPath(entry.path)
    if name.suffix.lower() in TEXT:
        return [(stem(entry.path), _line(entry.read().decode("utf-8", errors="replace")))]
    text = entry.read().decode("utf-8-sig", errors="replace") if name.name.lower().endswith(TABLES) else ""
    rows = _jsonl(text) if name.suffix.lower() == ".jsonl" else list(csv.DictReader(io.StringIO(text)))
    return [(stem(str(name.parent / file)), caption) for file, caption in map(_row, rows) if file]


def _jsonl(text: str) -> list[dict[str, object]]:
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _row(row: dict[str, object]) -> tuple[str, str]:
    lower = {str(key).lower(): value for key, value in row.items()}
    file = next((str(lower[key]) for key in NAME_COLUMNS if lower.get(key)), "")
    return file, _line(next((str(lower[key]) for key in TAG_COLUMNS if lower.get(key)), ""))


def _line(text: str) -> str:
    return " ".join(text.split())

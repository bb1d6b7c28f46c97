"""The training pictures: rows of the organize stage's `metadata.jsonl`, and the base's own for prior preservation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anime_lora.config import paths
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl

METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Picture:
    """One picture and what it is called."""

    id: str
    path: Path
    text: str
    split: str
    """train, holdout or prior."""
    pixel_sha256: str
    name: str
    """What a message calls it."""


def read_pictures(folder: Path = paths.ORGANIZE) -> list[Picture]:
    """Every picture of the organized dataset, sorted by id.

    Raises:
        DatasetError: no dataset, a damaged row, or no training picture.
    """
    table = folder / METADATA
    if not table.is_file():
        raise DatasetError(f"{table} is not there: run the organize stage first (`dvc repro organize`)")
    try:
        rows = read_jsonl(table)
        pictures = [
            Picture(r["id"], folder / r["file"], r["text"], r["split"], r["pixel_sha256"], r["file"]) for r in rows
        ]
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{table} is damaged ({error!r}): run the organize stage again") from error
    if not any(picture.split == "train" for picture in pictures):
        raise DatasetError(f"{table} has no row with split train among {len(pictures)}: lower organize.holdout_share")
    return sorted(pictures, key=lambda picture: picture.id)


def of_split(pictures: Sequence[Picture], split: str) -> list[Picture]:
    """The pictures of one split, in their order."""
    return [picture for picture in pictures if picture.split == split]


def dataset_hash(pictures: Sequence[Picture]) -> str:
    """Hex sha256 over what training sees of each picture: id, pixels, text, split."""
    lines = (f"{p.id}\x1f{p.pixel_sha256}\x1f{p.text}\x1f{p.split}\n" for p in pictures)
    return hashlib.sha256("".join(lines).encode()).hexdigest()

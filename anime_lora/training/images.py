"""The training images: rows of the organize stage's `metadata.jsonl`, and the base's own for prior preservation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anime_lora.config import paths
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl

METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class TrainingImage:
    """One image and what it is called."""

    id: str
    path: Path
    text: str
    split: str
    """train, holdout or prior."""
    pixel_sha256: str
    name: str
    """What a message calls it."""


def read_images(folder: Path = paths.ORGANIZE) -> list[TrainingImage]:
    """Every image of the organized dataset, sorted by id.

    Raises:
        DatasetError: no dataset, a damaged row, or no training image.
    """
    table = folder / METADATA
    if not table.is_file():
        raise DatasetError(f"{table} is not there: run the organize stage first (`dvc repro organize`)")
    try:
        rows = read_jsonl(table)
        images = [
            TrainingImage(r["id"], folder / r["file"], r["text"], r["split"], r["pixel_sha256"], r["file"])
            for r in rows
        ]
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{table} is damaged ({error!r}): run the organize stage again") from error
    if not any(image.split == "train" for image in images):
        raise DatasetError(f"{table} has no row with split train among {len(images)}: lower organize.holdout_share")
    return sorted(images, key=lambda image: image.id)


def of_split(images: Sequence[TrainingImage], split: str) -> list[TrainingImage]:
    """The images of one split, in their order."""
    return [image for image in images if image.split == split]


def dataset_hash(images: Sequence[TrainingImage]) -> str:
    """Hex sha256 over what training sees of each image: id, pixels, text, split."""
    lines = (f"{p.id}\x1f{p.pixel_sha256}\x1f{p.text}\x1f{p.split}\n" for p in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()

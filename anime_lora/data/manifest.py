"""The rows that one data stage hands to the next: JSON lines that name every file by the hash of its bytes.

The field names are the keys in the file. Other rooms read the rows here, too.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from anime_lora.config import paths
from anime_lora.errors import DatasetError
from anime_lora.files import read_rows


@dataclass(frozen=True)
class Row:
    """A row of a file that a stage writes."""

    STAGE: ClassVar[str]
    """The stage that writes it."""
    FILE: ClassVar[str] = paths.MANIFEST
    """The file's name in the stage's folder."""


AnyRow = TypeVar("AnyRow", bound=Row)


PASSING = ("memory", "unreadable", "killed")
"""Codes of faults that another run may not meet: not remembered, so that the file is tried again."""


@dataclass(frozen=True)
class Unusable:
    """Why one file cannot be used: what a per-image job returns instead of raising."""

    code: str
    """In a word, as `BadImageError` has it."""
    reason: str
    """In a sentence."""


def is_passing(result: object) -> bool:
    """Whether a result is a fault that another run may not meet, so that it must not be remembered."""
    return isinstance(result, Unusable) and result.code in PASSING


def killed(_: object) -> Unusable:
    """What becomes of a file on which two workers died."""
    reason = (
        "the worker process that opened it was ended, also when it opened nothing else: a crash, or too little memory"
    )
    return Unusable("killed", reason)


def check_stored(file: Path, content: bytes) -> None:
    """Make sure that an image of ingest's store, which is named by its hash, still holds what was ingested.

    Raises:
        DatasetError: it was changed.
    """
    if sha256(content).hexdigest() != file.stem:
        raise DatasetError(f"{file} was changed after ingest: run `python -m anime_lora ingest` again")


@dataclass(frozen=True)
class IngestedFile(Row):
    """One file of a source, taken into ingest's store or rejected."""

    STAGE = "ingest"

    source: str
    path: str
    bytes: int
    status: Literal["taken", "rejected"]
    reason: str | None
    """Why it was rejected; None of a file that was taken."""
    id: str | None
    """Hex sha256 of the file; this and the next three are None where it could not be decoded."""
    format: str | None
    width: int | None
    height: int | None
    store: str | None
    """Where its bytes lie, relative to ingest's folder; None of a rejected file."""
    caption: str | None
    caption_from: str | None
    """The file of the source that holds the caption."""
    code: str | None = None
    """The reason in a word; not written of a file that was taken."""


@dataclass(frozen=True)
class Sidecar(Row):
    """A file of a source that is no image: captions, notes, or one that is ignored by its name."""

    STAGE = "ingest"
    FILE = "sidecars.jsonl"

    source: str
    path: str
    bytes: int
    kind: Literal["caption", "table", "note", "ignored"]
    status: Literal["used", "orphan", "empty", "unreadable", "ignored"]
    """used: at least one image has a caption from it, or a better one; orphan: no image has its name."""
    reason: str | None
    captions: int
    """How many of its captions are for images of the source."""
    orphans: list[str]
    """The names in a table that no image has."""


@dataclass(frozen=True)
class IngestSummary:
    """What became of the files of all sources: each is counted once, in `images` or in `sidecars`."""

    FILE: ClassVar[str] = "summary.json"

    files: int
    images: dict[str, int]
    """Files by what became of them: taken, or the code of the reason."""
    sidecars: dict[str, int]
    """Likewise: kind and status, such as `caption used`."""
    orphan_rows: int
    """Rows of tables that name no image."""
    with_caption: int
    """Of the images that were taken."""
    without_caption: list[str]
    """`source: path` of images that were taken without a caption; empty where no image has one."""


@dataclass(frozen=True)
class ValidImage(Row):
    """An image that training may use; width and height in pixels as stored."""

    STAGE = "validate"

    id: str
    store: str
    source: str
    path: str
    width: int
    height: int
    caption: str | None
    phash: str
    """Perceptual hash, 16 hex digits."""
    cluster: str
    """Smallest id of the near-duplicates it belongs to; its own where it has none."""
    sharpness: float
    """`measures.laplacian_variance`."""
    contrast: float


@dataclass(frozen=True)
class QuarantinedFile(Row):
    """A file that training must not use, with the first check it failed."""

    STAGE = "validate"
    FILE = "quarantine.jsonl"

    id: str | None
    source: str
    path: str
    check: str
    """`ingest`, `duplicate`, the measure that passed its limit, or the code of what could not be measured."""
    value: float | None
    limit: float | None
    reason: str


@dataclass(frozen=True)
class ClusterMember(Row):
    """A file of a cluster of more than one: near-duplicates, and copies of one image."""

    STAGE = "validate"
    FILE = "clusters.jsonl"

    cluster: str
    """As in the images' manifest."""
    id: str
    source: str
    path: str
    in_dataset: bool
    """Whether it is in the manifest; of equal bytes or pixels only the first is."""


@dataclass(frozen=True)
class SquareImage(Row):
    """An image as the trainer's square."""

    STAGE = "resize"

    id: str
    caption: str | None
    cluster: str
    path: str
    file: str
    """The PNG, relative to resize's folder."""
    pixel_sha256: str
    """Hex sha256 of its raw RGB bytes."""
    file_sha256: str
    """Hex sha256 of the PNG's bytes."""
    source_width: int
    source_height: int


@dataclass(frozen=True)
class DatasetImage(Row):
    """An image of the dataset that trainers load."""

    STAGE = "organize"
    FILE = "metadata.jsonl"

    file_name: str
    file: str
    """The PNG, relative to organize's folder."""
    text: str
    """What training reads: the instance prompt and the caption; a line for each where an image has several."""
    caption: str | None
    id: str
    split: str
    """train or holdout."""
    cluster: str
    pixel_sha256: str
    file_sha256: str


def read_manifest(folder: Path, row_type: type[AnyRow]) -> list[AnyRow]:
    """The rows that a stage wrote into `folder`.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = folder / row_type.FILE
    command = f"python -m anime_lora {row_type.STAGE}"
    try:
        return read_rows(path, row_type)
    except FileNotFoundError:
        raise DatasetError(f"{path} not found: run `{command}` (or `dvc repro {row_type.STAGE}`) first") from None
    except ValueError as error:
        raise DatasetError(f"{path} is damaged ({error}): delete it and run `{command}` again") from None

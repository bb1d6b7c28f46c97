"""Everything that is looked at: generated images, sources, held-out and training images, and their vectors."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from anime_lora.config.paths import MANIFEST
from anime_lora.errors import DatasetError, EvaluationError
from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.statistics import Floats, Resample
from anime_lora.files import read_jsonl
from anime_lora.images import read_rgb
from anime_lora.sampling.results import read_generated
from anime_lora.sampling.sources import read_sources

CLUSTER = ["cluster", "seed"]


@dataclass(frozen=True)
class ImageSet:
    """A table of images with a `path` each, and their unit vectors by encoder name (empty until encoded)."""

    table: pd.DataFrame
    vectors: dict[str, Floats]

    def native(self) -> Iterator[Image.Image]:
        """Each image as RGB at its own size."""
        for path in self.table["path"]:
            yield read_rgb(path)

    def images(self, size: int) -> Iterator[Image.Image]:
        """Each image as RGB of `size` pixels square."""
        return self.open(range(len(self.table)), size)

    def open(self, rows: Iterable[int], size: int) -> Iterator[Image.Image]:
        """The images of some rows of the table."""
        for path in self.table["path"].iloc[list(rows)]:
            yield read_rgb(path).resize((size, size), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Album:
    """What `evaluate` measures; `size` is the base's resolution, at which everything is compared.

    `originals` are the held-out images as they came, at their native size; `encode` does not see them.
    """

    generated: ImageSet
    sources: ImageSet
    counterparts: ImageSet
    holdout: ImageSet
    train: ImageSet
    originals: ImageSet
    size: int
    resamples: int
    seed: int

    def parts(self) -> list[ImageSet]:
        """Every set of images that is encoded."""
        return [self.generated, self.sources, self.counterparts, self.holdout, self.train]

    def paired(self, gallery: str, by: str, keys: Sequence[str] = CLUSTER, **only: Any) -> pd.DataFrame:
        """Rows of `generated` by unit (index `keys`) and arm (columns: values of `by`); without incomplete units."""
        table = self.generated.table
        chosen = table[table["gallery"] == gallery]
        for name, value in only.items():
            chosen = chosen[chosen[name] == value]
        rows = chosen.reset_index(names="row")
        return rows.pivot_table(index=list(keys), columns=by, values="row", sort=False).dropna().astype(int)

    def resample(self, clusters: Iterable[object], what: str) -> Resample:
        """Bootstrap resamples of units; they depend on the seed and on `what` is measured only."""
        return Resample(list(clusters), self.resamples, self.seed + zlib.crc32(what.encode()))

    def over(self, units: pd.DataFrame, what: str) -> Resample:
        """`resample` of the units of `paired`, clustered by their first key."""
        return self.resample(units.index.get_level_values(0), what)


def encode(images: ImageSet, encoder: Encoder, size: int) -> None:
    """Add the unit vectors of one encoder."""
    if len(images.table):
        images.vectors[encoder.name] = encoder.images(list(images.images(size)))
    else:
        images.vectors[encoder.name] = np.empty((0, 0))


def load_generated(folder: Path) -> ImageSet:
    """The images of validate-sample.

    Raises:
        SamplingError: images.jsonl is missing or damaged.
        EvaluationError: an image is not there.
    """
    table = pd.DataFrame([asdict(image) for image in read_generated(folder)])
    table["path"] = [folder / file for file in table["file"]]
    _there(table["path"])
    return ImageSet(table, {})


def load_sources(folder: Path, kind: str) -> ImageSet:
    """Sources or their true counterparts, as validate-sample placed them: columns source, path, labels."""
    rows = [{**asdict(row), "path": folder / kind / Path(row.file).name} for row in read_sources(folder)]
    kept = [row for row in rows if row["path"].is_file()]
    return ImageSet(pd.DataFrame(kept, columns=["source", "file", "labels", "path"]), {})


def load_dataset(folder: Path) -> tuple[ImageSet, ImageSet]:
    """Training and held-out images of organize: columns id, caption, cluster, path.

    Raises:
        DatasetError: the dataset is not there.
    """
    try:
        rows = read_jsonl(folder / "metadata.jsonl")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder}/metadata.jsonl cannot be read: run `dvc repro organize` first") from error
    table = pd.DataFrame(rows, columns=["id", "file", "text", "caption", "cluster", "split"])
    table["path"] = [folder / file for file in table["file"]]
    _there(table["path"])
    parts = [table[table["split"] == split].reset_index(drop=True) for split in ("train", "holdout")]
    return ImageSet(parts[0], {}), ImageSet(parts[1], {})


def load_originals(folder: Path, ids: Iterable[str]) -> ImageSet:
    """The files that ingest took, of the images with these ids.

    Raises:
        DatasetError: ingest's manifest or a stored file is not there.
    """
    try:
        stored = {row["id"]: folder / row["store"] for row in read_jsonl(folder / MANIFEST) if row["store"]}
        rows = [{"id": one, "path": stored[one]} for one in ids]
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{folder / MANIFEST} lacks images of the dataset: run `dvc repro ingest` first") from error
    _there(row["path"] for row in rows)
    return ImageSet(pd.DataFrame(rows, columns=["id", "path"]), {})


def _there(files: Iterable[Path]) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise EvaluationError(
            f"{len(missing)} images are listed but not there, first {missing[0]}: run `dvc repro` or `dvc checkout`"
        )

"""The images that are measured: generated, sources, held-out and training images, with their vectors."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from anime_lora.config.evaluate import Evaluate
from anime_lora.config.paths import MANIFEST
from anime_lora.data.manifest import DatasetImage, IngestedFile, read_manifest
from anime_lora.errors import DatasetError, EvaluationError
from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.statistics import Floats, Resample
from anime_lora.files import check_unchanged
from anime_lora.images import ANY_SIZE, read_rgb
from anime_lora.sampling.results import read_generated
from anime_lora.sampling.sources import read_sources

Rows = NDArray[np.int64]
"""Places in the table of `ImageSets.generated`."""


@dataclass(frozen=True)
class ImageSet:
    """A table of images with a `path` each, and their unit vectors by encoder name (empty until encoded)."""

    table: pd.DataFrame
    vectors: dict[str, Floats]

    def native(self) -> Iterator[Image.Image]:
        """Each image as RGB at its own size."""
        for path in self.table["path"]:
            yield read_rgb(path, max_pixels=ANY_SIZE)

    def images(self, size: int) -> Iterator[Image.Image]:
        """Each image as RGB of `size` pixels square."""
        return self.open(range(len(self.table)), size)

    def open(self, rows: Iterable[int], size: int) -> Iterator[Image.Image]:
        """The images of some rows of the table."""
        for path in self.table["path"].iloc[list(rows)]:
            yield read_rgb(path).resize((size, size), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class ImageSets:
    """All that `evaluate` measures; `size` is the base's resolution, at which everything is compared.

    `originals` are the held-out images as they came, at their native size; no encoder sees them.
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

    def encoded(self) -> list[ImageSet]:
        """The sets that encoders see."""
        return [self.generated, self.sources, self.counterparts, self.holdout, self.train]

    def paired(self, gallery: str, by: str) -> pd.DataFrame:
        """Rows of `generated` by cluster and seed (index) and arm (columns: values of `by`); no incomplete units."""
        table = self.generated.table
        rows = table[table["gallery"] == gallery].reset_index(names="row")
        return rows.pivot_table(index=["cluster", "seed"], columns=by, values="row", sort=False).dropna().astype(int)

    def resample(self, clusters: Iterable[object], what: str) -> Resample:
        """Bootstrap resamples of units. `what` is measured enters their seed."""
        # crc32 and not hash(), which is another in every process
        return Resample(list(clusters), self.resamples, self.seed + zlib.crc32(what.encode()))

    def over(self, units: pd.DataFrame, what: str) -> Resample:
        """`resample` of the units of `paired`, clustered by their first key."""
        return self.resample(units.index.get_level_values(0), what)

    def trigger_units(self) -> "TriggerUnits":
        """The 2×2 of LoRA and trigger."""
        units = self.paired("trigger", "arm")
        cells = (units[arm].to_numpy() for arm in ("base-plain", "base-trigger", "lora-plain", "lora-trigger"))
        return TriggerUnits(*unit_names(units), *cells)


@dataclass(frozen=True)
class TriggerUnits:
    """The 2×2 of LoRA and trigger by (prompt, seed): each unit's prompt and name, and its row in every cell, (n,)."""

    prompts: list[str]
    names: list[str]
    base_plain: Rows
    base_trigger: Rows
    lora_plain: Rows
    lora_trigger: Rows

    def __len__(self) -> int:
        return len(self.names)


def unit_names(units: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Cluster and name of each unit of `ImageSets.paired`."""
    return [str(key[0]) for key in units.index], [" | ".join(map(str, key)) for key in units.index]


def encode(images: ImageSet, encoder: Encoder, size: int) -> None:
    """Add the unit vectors of one encoder."""
    if len(images.table):
        images.vectors[encoder.name] = encoder.images(list(images.images(size)))
    else:
        images.vectors[encoder.name] = np.empty((0, 0))


def load_image_sets(samples: Path, ingest: Path, dataset: Path, size: int, settings: Evaluate) -> ImageSets:
    """The images of validate-sample, the dataset of organize, and the originals that ingest took; not yet encoded.

    Raises:
        AnimeLoraError: some are not there, or what lists them is damaged.
    """
    train, holdout = load_dataset(dataset)
    return ImageSets(
        generated=load_generated(samples),
        sources=load_sources(samples, "sources"),
        counterparts=load_sources(samples, "counterparts"),
        holdout=holdout,
        train=train,
        originals=load_originals(ingest, holdout.table["id"]),
        size=size,
        resamples=settings.bootstrap,
        seed=settings.seed,
    )


def load_generated(folder: Path) -> ImageSet:
    """The images of validate-sample.

    Raises:
        SamplingError: images.jsonl is missing or damaged.
        EvaluationError: an image is not there.
    """
    table = pd.DataFrame([asdict(image) for image in read_generated(folder)])
    table["path"] = [folder / file for file in table["file"]]
    _check_files(table["path"])
    return ImageSet(table, {})


def load_sources(folder: Path, kind: str) -> ImageSet:
    """Sources or their true counterparts, as validate-sample placed them: columns source, path, labels."""
    rows = [{**asdict(row), "path": folder / kind / Path(row.file).name} for row in read_sources(folder)]
    there = [row for row in rows if row["path"].is_file()]
    return ImageSet(pd.DataFrame(there, columns=["source", "file", "labels", "path"]), {})


def load_dataset(folder: Path) -> tuple[ImageSet, ImageSet]:
    """Training and held-out images of organize: columns id, caption, cluster, path.

    Raises:
        DatasetError: metadata.jsonl is missing or damaged, or an image was changed after organize.
        EvaluationError: an image is not there.
    """
    rows = read_manifest(folder, DatasetImage)
    table = pd.DataFrame(
        {
            "id": [row.id for row in rows],
            "caption": [row.caption and row.caption.split("\n")[0] for row in rows],
            "cluster": [row.cluster for row in rows],
            "split": [row.split for row in rows],
            "path": [folder / row.file for row in rows],
        }
    )
    _check_files(table["path"])
    check_unchanged({folder / row.file: row.file_sha256 for row in rows}, "organize")
    train, holdout = (table[table["split"] == split].reset_index(drop=True) for split in ("train", "holdout"))
    return ImageSet(train, {}), ImageSet(holdout, {})


def load_originals(folder: Path, ids: Iterable[str]) -> ImageSet:
    """The files that ingest took, of the images with these ids: columns id, path.

    Raises:
        DatasetError: ingest's manifest is missing or damaged, or lacks one.
        EvaluationError: a stored file is not there.
    """
    stored = {row.id: folder / row.store for row in read_manifest(folder, IngestedFile) if row.store}
    dataset_ids = list(ids)
    lacking = [one for one in dataset_ids if one not in stored]
    if lacking:
        missing = f"{len(lacking)} images of the dataset, first {lacking[0]}"
        raise DatasetError(f"{folder / MANIFEST} lacks {missing}: run `dvc repro ingest` first")
    files = [stored[one] for one in dataset_ids]
    _check_files(files)
    return ImageSet(pd.DataFrame({"id": dataset_ids, "path": files}), {})


def _check_files(files: Iterable[Path]) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise EvaluationError(
            f"{len(missing)} images are listed but not there, first {missing[0]}: run `dvc repro` or `dvc checkout`"
        )

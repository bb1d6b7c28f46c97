"""How the LoRA behaves: diversity, sharpness, drift on unrelated prompts, copying of training images."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import ImageSet, ImageSets, Rows, unit_names
from anime_lora.evaluation.metrics.pixels import clipped, sharpness
from anime_lora.evaluation.statistics import Estimate, Floats, PairedUnits, exact, pairwise_mean
from anime_lora.images import HASH_SIDE, luma, perceptual_hash
from anime_lora.sampling.grids import Sheet, compose, save

COPY_BITS = 6
"""Perceptual hashes (64 bits) that differ in fewer bits look alike at a glance."""
NEAREST, TILE = 8, 192
"""Columns of the sheet of nearest training images, and the height of its cells in pixels."""


@dataclass(frozen=True)
class DiversityMetrics:
    """Mean pairwise 1 − cosine of LoRA's, base's and held-out images, and the LoRA's as a share of the base's."""

    lora: Estimate | None = None
    base: Estimate | None = None
    holdout: Estimate | None = None
    ratio: Estimate | None = None
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class SharpnessMetrics:
    """Spectral sharpness (`pixels.sharpness`) of each set, and the LoRA's as a share of each.

    `native` are the held-out images' originals at their own size: an enlarged image is soft itself.
    """

    base: Estimate | None = None
    lora: Estimate | None = None
    holdout: Estimate | None = None
    native: Estimate | None = None
    against_base: Estimate | None = None
    against_holdout: Estimate | None = None
    against_native: Estimate | None = None
    units: PairedUnits | None = None


@dataclass(frozen=True)
class ClippedMetrics:
    """Share of pixels at the very end of a channel."""

    base: Estimate | None = None
    lora: Estimate | None = None
    holdout: Estimate | None = None


@dataclass(frozen=True)
class DriftMetrics:
    """(1 − cosine)/2 between base and LoRA: on unrelated prompts, and on the concept's own to compare with."""

    unrelated: Estimate | None = None
    on_concept: Estimate | None = None
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class MemorisationMetrics:
    """Memorisation A of the LoRA's images, and of the base's, which never saw the training images."""

    lora: Estimate | None = None
    base: Estimate | None = None
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class CopyMetrics:
    """Bits between an image's perceptual hash and its nearest training image's, and the share below `COPY_BITS`."""

    nearest_bits: Estimate | None = None
    share: Estimate | None = None


def measure_diversity(images: ImageSets, encoder: Encoder) -> DiversityMetrics:
    """How different images of the same prompts are from each other."""
    units = images.trigger_units()
    resample, vectors = images.resample(units.prompts, "diversity"), images.generated.vectors[encoder.name]
    base, lora = (1 - vectors[rows] @ vectors[rows].T for rows in (units.base_trigger, units.lora_trigger))
    holdout = images.holdout.vectors[encoder.name]
    own = float(pairwise_mean(np.ones((1, len(holdout))), 1 - holdout @ holdout.T)[0])
    of_lora, of_base = ((one.sum(1) - np.diag(one)) / (len(one) - 1) for one in (lora, base))
    return DiversityMetrics(
        lora=resample.pairwise(lora),
        base=resample.pairwise(base),
        holdout=exact(own, len(holdout)),
        ratio=resample.estimate(lambda w: pairwise_mean(w, lora) / pairwise_mean(w, base), 2 * len(units)),
        units=PairedUnits(units.prompts, units.names, lora=of_lora.tolist(), base=of_base.tolist()),
    )


def measure_sharpness(images: ImageSets) -> tuple[SharpnessMetrics, ClippedMetrics]:
    """Sharpness and clipped pixels of LoRA's, base's and held-out images at the same size: no weights."""
    units = images.trigger_units()
    resample = images.resample(units.prompts, "sharpness")
    base, lora, holdout = (
        np.array([(sharpness(one), clipped(one)) for one in opened]).reshape(-1, 2)
        for opened in (
            images.generated.open(units.base_trigger, images.size),
            images.generated.open(units.lora_trigger, images.size),
            images.holdout.images(images.size),
        )
    )
    native = np.array([sharpness(one) for one in images.originals.native()])

    def against(reference: Floats) -> Estimate | None:
        mean = float(reference.mean()) if len(reference) else 0.0
        return resample.mean(lora[:, 0] / mean) if mean > 0 else None

    return SharpnessMetrics(
        base=resample.mean(base[:, 0]),
        lora=resample.mean(lora[:, 0]),
        holdout=_mean_of_set(holdout[:, 0]),
        native=_mean_of_set(native),
        against_base=against(base[:, 0]),
        against_holdout=against(holdout[:, 0]),
        against_native=against(native),
        units=PairedUnits(units.prompts, units.names, lora=lora[:, 0].tolist()),
    ), ClippedMetrics(resample.mean(base[:, 1]), resample.mean(lora[:, 1]), _mean_of_set(holdout[:, 1]))


def _mean_of_set(values: Floats) -> Estimate | None:
    return exact(float(values.mean()), len(values)) if len(values) else None


def measure_drift(images: ImageSets, encoder: Encoder) -> DriftMetrics:
    """How far the LoRA moves images away from the base's on the same noise."""
    vectors = images.generated.vectors[encoder.name]

    def change(base: Rows, lora: Rows) -> Floats:
        moved: Floats = (1 - (vectors[base] * vectors[lora]).sum(1)) / 2
        return moved

    units, own = images.paired("drift", "arm"), images.trigger_units()
    unrelated = change(units["base"].to_numpy(), units["lora"].to_numpy())
    on_concept = change(own.base_trigger, own.lora_trigger)
    return DriftMetrics(
        unrelated=images.over(units, "drift").mean(unrelated, 2 * len(units)),
        on_concept=images.resample(own.prompts, "drift").mean(on_concept, 2 * len(own)),
        units=PairedUnits(*unit_names(units), lora=unrelated.tolist()),
    )


def measure_memorisation(images: ImageSets, encoder: Encoder) -> MemorisationMetrics:
    """Are generated images nearer to training images than new images of the style are."""
    units = images.trigger_units()
    resample, vectors = images.resample(units.prompts, "copying"), images.generated.vectors[encoder.name]
    train, holdout = images.train.vectors[encoder.name], images.holdout.vectors[encoder.name]
    base, lora = (memorisation(vectors[rows], train, holdout) for rows in (units.base_trigger, units.lora_trigger))
    return MemorisationMetrics(
        lora=resample.mean(lora),
        base=resample.mean(base),
        units=PairedUnits(units.prompts, units.names, lora=lora.tolist()),
    )


def memorisation(generated: Floats, train: Floats, holdout: Floats) -> Floats:
    """For each image, the share of held-out ones that lie farther from their nearest training image than it, (n,).

    Its mean is A: 0.5 where generated images are as near to the training images as new ones of the style are, 1 for
    copies (Meehan, Chaudhuri and Dasgupta 2020, arXiv:2004.05675: the Mann-Whitney statistic of the two distances).
    Both look at the same training images, so the sizes of the sets do not matter.
    """
    own, new = ((one @ train.T).max(1) for one in (generated, holdout))
    farther, level = (new[None] < own[:, None]).mean(1), (new[None] == own[:, None]).mean(1)
    share: Floats = farther + level / 2
    return share


def measure_copies(images: ImageSets) -> CopyMetrics:
    """Copying without weights, by perceptual hash."""
    units = images.trigger_units()
    train = _hashes(images.train, range(len(images.train.table)), images.size)
    if not len(train):
        return CopyMetrics()
    generated = _hashes(images.generated, units.lora_trigger, images.size)
    bits = (generated[:, None] != train[None]).sum(2).min(1).astype(float)
    resample = images.resample(units.prompts, "hashes")
    return CopyMetrics(resample.mean(bits), resample.mean((bits < COPY_BITS).astype(float)))


def _hashes(images: ImageSet, rows: Iterable[int], size: int) -> NDArray[np.bool_]:
    return np.array([perceptual_hash(luma(one, HASH_SIDE)) for one in images.open(rows, size)])


def lay_out_nearest(images: ImageSets, encoder: Encoder | None, folder: Path) -> None:
    """Write nearest.png and .webp into the new `folder`: the `NEAREST` LoRA images most like a training image.

    Below each stand that training image and the nearest held-out one, by cosine. The folder stays empty where there
    are none, or no encoder.
    """
    folder.mkdir()
    if encoder is None or not len(images.train.table) or not len(images.holdout.table):
        return
    rows = images.trigger_units().lora_trigger
    generated = images.generated.vectors[encoder.name][rows]
    train, holdout = (generated @ part.vectors[encoder.name].T for part in (images.train, images.holdout))
    order = (-train.max(1)).argsort(kind="stable")[:NEAREST]
    cells: list[list[Path | None]] = [
        [images.generated.table["path"].iloc[rows[one]] for one in order],
        [images.train.table["path"].iloc[train[one].argmax()] for one in order],
        [images.holdout.table["path"].iloc[holdout[one].argmax()] for one in order],
    ]
    columns = [f"{train[one].max():.3f} | {holdout[one].max():.3f}" for one in order]
    names = ["generated", "nearest in training", "nearest held out"]
    sheet = Sheet("nearest", "Nearest training and held-out images (cosines)", columns, names, cells)
    save(compose(sheet, TILE), folder / "nearest")

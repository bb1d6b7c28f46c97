"""How the LoRA behaves: diversity, sharpness, drift on unrelated prompts, copying of training images."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album, ImageSet
from anime_lora.evaluation.metrics.pixels import clipped, sharpness
from anime_lora.evaluation.metrics.results import Findings, unit_values
from anime_lora.evaluation.metrics.similarity import memorisation
from anime_lora.evaluation.metrics.style import trigger_units, unit_names
from anime_lora.evaluation.statistics import Estimate, Floats, pairwise_mean
from anime_lora.images import HASH_SIDE, luma, perceptual_hash

COPY_BITS = 6
"""Perceptual hashes (64 bits) that differ in fewer bits look alike at a glance."""


def diversity(album: Album, encoder: Encoder) -> Findings:
    """Mean pairwise 1 − cosine of the LoRA's images, against the base's and the held-out images'."""
    units, found = trigger_units(album), Findings()
    resample, generated = album.over(units, "diversity"), album.generated.vectors[encoder.name]
    distances = {cell: 1 - generated[units[cell]] @ generated[units[cell]].T for cell in ("BT", "LT")}
    held = album.holdout.vectors[encoder.name]
    own = float(pairwise_mean(np.ones((1, len(held))), 1 - held @ held.T)[0])
    found.numbers["diversity.lora"] = resample.pairwise(distances["LT"])
    found.numbers["diversity.base"] = resample.pairwise(distances["BT"])
    found.numbers["diversity.holdout"] = Estimate(own, None, None, len(held), len(held))
    found.numbers["diversity.ratio"] = resample.estimate(
        lambda w: pairwise_mean(w, distances["LT"]) / pairwise_mean(w, distances["BT"]), 2 * len(units)
    )
    mean = {cell: (kernel.sum(1) - np.diag(kernel)) / (len(kernel) - 1) for cell, kernel in distances.items()}
    found.units["diversity"] = unit_values(*unit_names(units), lora=mean["LT"], base=mean["BT"])
    return found


def crispness(album: Album) -> Findings:
    """Sharpness and clipped pixels, no weights: LoRA, base and held-out images at the same size.

    Held-out images that were enlarged are soft themselves; their originals at native size say what sharp is.
    """
    units, found = trigger_units(album), Findings()
    resample = album.over(units, "sharpness")
    real = np.array([(sharpness(one), clipped(one)) for one in album.holdout.images(album.size)]).reshape(-1, 2)
    looks = {}
    for arm, cell in (("base", "BT"), ("lora", "LT")):
        looks[arm] = np.array([(sharpness(one), clipped(one)) for one in album.generated.open(units[cell], album.size)])
        found.numbers[f"sharpness.{arm}"] = resample.mean(looks[arm][:, 0])
        found.numbers[f"clipped.{arm}"] = resample.mean(looks[arm][:, 1])
    for place, name in enumerate(("sharpness", "clipped")):
        if len(real):
            found.numbers[f"{name}.holdout"] = Estimate(float(real[:, place].mean()), None, None, len(real), len(real))
    native = np.array([sharpness(one) for one in album.originals.native()])
    if len(native):
        found.numbers["sharpness.native"] = Estimate(float(native.mean()), None, None, len(native), len(native))
    references = {"holdout": real[:, 0], "native": native, "base": looks["base"][:, 0]}
    for name, values in references.items():
        if (reference := float(values.mean()) if len(values) else 0.0) > 0:
            found.numbers[f"sharpness.against_{name}"] = resample.mean(looks["lora"][:, 0] / reference)
    found.units["sharpness"] = unit_values(*unit_names(units), lora=looks["lora"][:, 0])
    return found


def drift(album: Album, encoder: Encoder) -> Findings:
    """(1 − cosine)/2 between base and LoRA on unrelated prompts; and on the concept's own, to compare with."""
    found, generated = Findings(), album.generated.vectors[encoder.name]
    units = album.paired("drift", "arm")
    moved = _moved(generated, units, "base", "lora")
    found.numbers["drift"] = album.over(units, "drift").mean(moved, 2 * len(units))
    found.units["drift"] = unit_values(*unit_names(units), lora=moved)
    own = trigger_units(album)
    found.numbers["drift.on_concept"] = album.over(own, "drift").mean(_moved(generated, own, "BT", "LT"), 2 * len(own))
    return found


def _moved(generated: Floats, units: pd.DataFrame, one: str, other: str) -> Floats:
    moved: Floats = (1 - (generated[units[one]] * generated[units[other]]).sum(1)) / 2
    return moved


def copying(album: Album, encoder: Encoder) -> Findings:
    """Memorisation A of the LoRA's images, and of the base's, which never saw the training images."""
    units, found = trigger_units(album), Findings()
    resample, generated = album.over(units, "copying"), album.generated.vectors[encoder.name]
    train, held = album.train.vectors[encoder.name], album.holdout.vectors[encoder.name]
    for arm, cell in (("base", "BT"), ("lora", "LT")):
        values = memorisation(generated[units[cell]], train, held)
        found.numbers[f"memorisation.{arm}"] = resample.mean(values)
    found.units["memorisation"] = unit_values(*unit_names(units), lora=values)
    return found


def hashes(album: Album) -> Findings:
    """Copying without weights: bits between an image's perceptual hash and its nearest training image's."""
    units, found = trigger_units(album), Findings()
    train = _hashes(album.train, range(len(album.train.table)), album.size)
    if not len(train):
        return found
    generated = _hashes(album.generated, units["LT"], album.size)
    bits = (generated[:, None] != train[None]).sum(2).min(1).astype(float)
    resample = album.over(units, "hashes")
    found.numbers["copies.nearest_bits"] = resample.mean(bits)
    found.numbers["copies.share"] = resample.mean((bits < COPY_BITS).astype(float))
    return found


def _hashes(images: ImageSet, rows: Iterable[int], size: int) -> NDArray[np.bool_]:
    return np.array([perceptual_hash(luma(one, HASH_SIDE)) for one in images.open(rows, size)])

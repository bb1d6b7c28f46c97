"""Does strength trade identity for style: img2img of known people, by strength, with and without the LoRA."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import ImageSets, Rows
from anime_lora.evaluation.metrics.pixels import ssim
from anime_lora.evaluation.metrics.prompt import Attributes, classify
from anime_lora.evaluation.metrics.style import scale_of_style
from anime_lora.evaluation.statistics import Estimate, Floats, PairedUnits, Resample, spearman

KEEPING, RESTYLING = 0.65, 0.8
"""The mission's strengths: one that keeps features, where promotion compares identity, and one for more style."""
NO_SOURCES = "there are no source images (validate_sample.sources)"
NO_CONTROLNET = "no ControlNet is set (validate_sample.controlnet)"


@dataclass(frozen=True)
class StrengthPoint:
    """Means over sources at one strength; attributes and counterparts are None where nothing is known of them."""

    strength: float
    arm: str
    style: Estimate | None = None
    identity: Estimate | None = None
    """Cosine of image and source."""
    agreement: Estimate | None = None
    """Share of attributes that the encoder sees alike in image and source."""
    truth: Estimate | None = None
    """Cosine to the source's true counterpart in the style."""
    nearer: Estimate | None = None
    """Share of the other counterparts that are farther than the own one; 0.5 is chance."""
    retrieved: Estimate | None = None
    """Share of images whose own counterpart is the nearest of all."""
    n: int = 0


@dataclass(frozen=True)
class StructurePoint:
    """Mean SSIM of source and image at 64 px, at one strength."""

    strength: float
    arm: str
    ssim: Estimate | None
    n: int


@dataclass(frozen=True)
class StrengthMetrics:
    """Style and identity by strength with the LoRA, and the LoRA against the base."""

    rho_style: Estimate | None = None
    rho_identity: Estimate | None = None
    keeping: StrengthPoint = StrengthPoint(KEEPING, "lora")
    """With the LoRA; empty where the suite lacks the strength."""
    restyling: StrengthPoint = StrengthPoint(RESTYLING, "lora")
    """As `keeping`."""
    style_rise: Estimate | None = None
    """From `KEEPING` to `RESTYLING`."""
    identity_fall: Estimate | None = None
    style_at_equal_identity: Estimate | None = None
    """LoRA minus base."""
    truth_gain: Estimate | None = None
    """Cosine to the true counterpart at `KEEPING`, LoRA minus base."""
    points: tuple[StrengthPoint, ...] = ()
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class ControlNetMetrics:
    """LoRA with the ControlNet against LoRA alone: identity at equal style, and both differences at one strength."""

    identity_gain: Estimate | None = None
    identity_change: Estimate | None = None
    style_change: Estimate | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Arm:
    """Values of one arm by source and seed (rows) and strength (columns); those of `StrengthPoint` before the mean."""

    strengths: Floats
    style: Floats
    identity: Floats
    agreement: Floats
    truth: Floats
    nearer: Floats
    retrieved: Floats

    def point(self, name: str, column: int, resample: Resample) -> StrengthPoint:
        """The means at one strength."""
        style, identity, agreement, truth, nearer, retrieved = (
            resample.mean(values[:, column])
            for values in (self.style, self.identity, self.agreement, self.truth, self.nearer, self.retrieved)
        )
        return StrengthPoint(
            float(self.strengths[column]), name, style, identity, agreement, truth, nearer, retrieved,
            resample.clusters,
        )  # fmt: skip

    def column(self, strength: float) -> int | None:
        """The column of a strength; None where it is not in the suite."""
        columns = np.flatnonzero(self.strengths == strength)
        return int(columns[0]) if len(columns) else None


def measure_strength(
    images: ImageSets, encoder: Encoder, attributes: Attributes
) -> tuple[StrengthMetrics, ControlNetMetrics]:
    """Style and identity by strength, their rank correlation, agreement of attributes, and the true counterparts."""
    tables = _rows_by_strength(images)
    if "lora" not in tables:
        return StrengthMetrics(missing=NO_SOURCES), ControlNetMetrics(missing=NO_SOURCES)
    resample = images.over(tables["lora"], "strength")
    arms = {name: _arm(images, encoder, attributes, table) for name, table in tables.items()}
    points = tuple(
        arm.point(name, column, resample) for name, arm in arms.items() for column in range(len(arm.strengths))
    )
    lora, base = arms["lora"], arms.get("base")
    by_strength = {point.strength: point for point in points if point.arm == "lora"}
    low, high = lora.column(KEEPING), lora.column(RESTYLING)
    both = low is not None and high is not None
    control = ControlNetMetrics(missing=NO_CONTROLNET)
    if "control" in arms:
        control = _against_control(lora, arms["control"], resample)
    return StrengthMetrics(
        rho_style=resample.mean(spearman(lora.strengths, lora.style), lora.style.size),
        rho_identity=resample.mean(spearman(lora.strengths, lora.identity), lora.identity.size),
        keeping=by_strength.get(KEEPING, StrengthMetrics.keeping),
        restyling=by_strength.get(RESTYLING, StrengthMetrics.restyling),
        style_rise=resample.mean(lora.style[:, high] - lora.style[:, low]) if both else None,
        identity_fall=resample.mean(lora.identity[:, low] - lora.identity[:, high]) if both else None,
        style_at_equal_identity=None if base is None else resample.estimate(
            lambda w: lead(w, (lora.identity, lora.style), (base.identity, base.style))
        ),
        truth_gain=None if base is None else _truth_gain(lora, base, resample),
        points=points,
        units=None if low is None else PairedUnits(
            [str(source) for source in tables["lora"].index.get_level_values(0)],
            [f"{source} | {seed}" for source, seed in tables["lora"].index],
            lora=lora.identity[:, low].tolist(),
        ),
    ), control  # fmt: skip


def _rows_by_strength(images: ImageSets) -> dict[str, pd.DataFrame]:
    """For each arm, rows of `images.generated` by source and seed (index) and strength (columns)."""
    table = images.generated.table
    known = set(images.sources.table["source"])
    generated = table[(table["gallery"] == "strength") & table["source"].isin(known)].reset_index(names="row")
    return {
        str(arm): part.pivot_table(index=["source", "seed"], columns="strength", values="row").astype(int)
        for arm, part in generated.groupby("arm")
    }


def _arm(images: ImageSets, encoder: Encoder, attributes: Attributes, table: pd.DataFrame) -> Arm:
    rows = table.to_numpy()
    vectors, style = images.generated.vectors[encoder.name], scale_of_style(images, encoder)
    sources = images.sources.vectors[encoder.name][_source_rows(images, table)]
    agreement = (
        _agreement(vectors[rows], sources, encoder, attributes) if encoder.reads_text else np.full(rows.shape, np.nan)
    )
    truth, nearer, retrieved = _counterparts(images, encoder, list(table.index.get_level_values(0)), vectors[rows])
    return Arm(
        strengths=table.columns.to_numpy(float),
        style=style[rows],
        identity=np.einsum("skd,sd->sk", vectors[rows], sources),
        agreement=agreement,
        truth=truth,
        nearer=nearer,
        retrieved=retrieved,
    )


def _source_rows(images: ImageSets, table: pd.DataFrame) -> Rows:
    """The row of `images.sources` behind each row of `table`."""
    place = {name: row for row, name in enumerate(images.sources.table["source"])}
    return np.array([place[name] for name in table.index.get_level_values(0)])


def _agreement(generated: Floats, sources: Floats, encoder: Encoder, attributes: Attributes) -> Floats:
    """Share of attributes that the encoder sees alike in image and source, (sources, strengths)."""
    before = classify(sources, encoder, attributes).values
    shape = generated.shape[:2]
    after = classify(generated.reshape(-1, generated.shape[2]), encoder, attributes).values
    alike = [np.array(after[name]).reshape(shape) == np.array(before[name])[:, None] for name in attributes]
    shares: Floats = np.mean(alike, axis=0)
    return shares


def _counterparts(
    images: ImageSets, encoder: Encoder, names: list[str], generated: Floats
) -> tuple[Floats, Floats, Floats]:
    """Cosine to the own counterpart, how many others are farther, whether all are: (rows, strengths) each."""
    known = list(images.counterparts.table["source"])
    truth, nearer, retrieved = (np.full(generated.shape[:2], np.nan) for _ in range(3))
    if len(known) < 2:
        return truth, nearer, retrieved
    likeness = generated @ images.counterparts.vectors[encoder.name].T
    for row, name in enumerate(names):
        if name in known:
            own = likeness[row, :, known.index(name)]
            others = np.delete(likeness[row], known.index(name), axis=1)
            truth[row] = own
            nearer[row] = ((others < own[:, None]) + 0.5 * (others == own[:, None])).mean(1)
            retrieved[row] = (others < own[:, None]).all(1)
    return truth, nearer, retrieved


def _truth_gain(lora: Arm, base: Arm, resample: Resample) -> Estimate | None:
    """How much nearer to the true counterpart the LoRA comes at `KEEPING`, where both have that strength."""
    ours, theirs = lora.column(KEEPING), base.column(KEEPING)
    if ours is None or theirs is None:
        return None
    gain = lora.truth[:, ours] - base.truth[:, theirs]
    return resample.mean(gain, 2 * len(gain))


def _against_control(lora: Arm, control: Arm, resample: Resample) -> ControlNetMetrics:
    """The ControlNet is tried at one strength, which the LoRA alone need not have."""
    gain = resample.estimate(lambda w: -lead(w, (lora.style, lora.identity), (control.style, control.identity)))
    column = lora.column(float(control.strengths[0]))
    if column is None:
        return ControlNetMetrics(gain)
    identity, style = control.identity[:, 0] - lora.identity[:, column], control.style[:, 0] - lora.style[:, column]
    count = 2 * len(identity)
    return ControlNetMetrics(gain, resample.mean(identity, count), resample.mean(style, count))


def lead(weights: Floats, curve: tuple[Floats, Floats], points: tuple[Floats, Floats]) -> Floats:
    """How far `curve` lies above `points` where the first value is equal, mean over the points, (rows,).

    NaN for a row in which no point lies within the curve's range.

    Args:
        weights: of the units, (rows, units).
        curve: an arm at several strengths: what is held equal and what is compared, (units, k) each. Its mean curve
            is read between the strengths.
        points: the same of the arm it is compared with.
    """
    total = weights.sum(1, keepdims=True)
    (at, values), (targets, reached) = ([weights @ one / total for one in pair] for pair in (curve, points))
    gains = [interpolate(targets[:, k], at, values) - reached[:, k] for k in range(targets.shape[1])]
    known = np.isfinite(gains)
    count = known.sum(0)
    mean: Floats = np.where(count > 0, np.where(known, gains, 0.0).sum(0) / np.maximum(count, 1), np.nan)
    return mean


def interpolate(targets: Floats, at: Floats, values: Floats) -> Floats:
    """Each row's piecewise linear curve `values` over `at` at `targets`, on its first such piece; NaN outside."""
    result = np.full(len(targets), np.nan)
    for left in range(at.shape[1] - 1):
        start, end = at[:, left], at[:, left + 1]
        inside = (targets >= np.minimum(start, end)) & (targets <= np.maximum(start, end)) & (start != end)
        share = (targets - start) / np.where(start != end, end - start, 1.0)
        read = values[:, left] + share * (values[:, left + 1] - values[:, left])
        result = np.where(inside & np.isnan(result), read, result)
    return result


def measure_structure(images: ImageSets) -> tuple[StructurePoint, ...]:
    """SSIM at 64 px between source and image by arm and strength: no weights."""
    points = []
    for arm, table in _rows_by_strength(images).items():
        sources = list(images.sources.open(_source_rows(images, table), images.size))
        resample = images.over(table, "strength")
        for strength in table.columns:
            opened = images.generated.open(table[strength], images.size)
            alike = np.array([ssim(one, other) for one, other in zip(opened, sources, strict=True)])
            points.append(StructurePoint(float(strength), arm, resample.mean(alike), resample.clusters))
    return tuple(points)

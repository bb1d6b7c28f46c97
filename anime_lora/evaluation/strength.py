"""Does strength trade identity for style: img2img of known people, by strength, with and without the LoRA."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anime_lora.evaluation.album import Album
from anime_lora.evaluation.bootstrap import Floats, Resample
from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.findings import Findings, columns, unit_values
from anime_lora.evaluation.labels import Attributes, classify
from anime_lora.evaluation.pixels import ssim
from anime_lora.evaluation.similarity import spearman
from anime_lora.evaluation.style import scale_of_style

VALUES = ("style", "identity", "agreement", "truth", "found")
KEPT = 0.65
"""The mission's strength that keeps features; promotion compares identity there."""


@dataclass(frozen=True)
class Look:
    """Values by source (rows) and strength (columns) of one arm."""

    strengths: Floats
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    """Rows of `album.drawn`."""
    style: Floats
    identity: Floats
    agreement: Floats
    truth: Floats
    """Cosine to the true counterpart; NaN where there is none."""
    found: Floats
    """1 where the true counterpart is the nearest of all counterparts, else 0; NaN where there is none."""


def strength(album: Album, encoder: Encoder, attributes: Attributes) -> Findings:
    """Style and identity by strength, their rank correlation, agreement of attributes, and the true counterparts."""
    found, arms = Findings(), _arms(album)
    if "lora" not in arms:
        return found
    names = list(arms["lora"].index)
    resample = album.resample(names, "strength")
    looks = {arm: _look(album, encoder, attributes, table) for arm, table in arms.items()}
    found.curves["strength"] = [
        _point(arm, look, column, resample) for arm, look in looks.items() for column in range(len(look.strengths))
    ]
    lora = looks["lora"]
    for name, values in (("style", lora.style), ("identity", lora.identity)):
        found.numbers[f"strength.rho_{name}"] = resample.mean(spearman(lora.strengths, values), values.size)
    _near(found, lora, resample)
    if "base" in looks and len(looks["base"].strengths):
        gain = resample.estimate(lambda w: style_at_equal_identity(w, lora, looks["base"]))
        found.numbers["strength.style_at_equal_identity"] = gain
    return found


def _arms(album: Album) -> dict[str, pd.DataFrame]:
    """For each arm, rows of `album.drawn` by source and strength."""
    table = album.drawn.table
    known = set(album.sources.table["source"])
    drawn = table[(table["gallery"] == "strength") & table["source"].isin(known)].reset_index(names="row")
    return {
        str(arm): part.pivot_table(index="source", columns="strength", values="row").astype(int)
        for arm, part in drawn.groupby("arm")
    }


def _look(album: Album, encoder: Encoder, attributes: Attributes, table: pd.DataFrame) -> Look:
    rows = table.to_numpy()
    drawn, style = album.drawn.vectors[encoder.name], scale_of_style(album, encoder)
    order = [list(album.sources.table["source"]).index(name) for name in table.index]
    sources = album.sources.vectors[encoder.name][order]
    identity = np.einsum("skd,sd->sk", drawn[rows], sources)
    agreement = (
        _agreement(drawn[rows], sources, encoder, attributes) if encoder.reads_text else np.full(rows.shape, np.nan)
    )
    truth, found = _counterparts(album, encoder, list(table.index), drawn[rows])
    return Look(table.columns.to_numpy(float), rows, style[rows], identity, agreement, truth, found)


def _agreement(drawn: Floats, sources: Floats, encoder: Encoder, attributes: Attributes) -> Floats:
    """Share of attributes that the encoder sees alike in picture and source, (sources, strengths)."""
    before = classify(sources, encoder, attributes).values
    shape = drawn.shape[:2]
    after = classify(drawn.reshape(-1, drawn.shape[2]), encoder, attributes).values
    alike = [np.array(after[name]).reshape(shape) == np.array(before[name])[:, None] for name in attributes]
    shares: Floats = np.mean(alike, axis=0)
    return shares


def _counterparts(album: Album, encoder: Encoder, names: list[str], drawn: Floats) -> tuple[Floats, Floats]:
    """Cosine to the own counterpart, and whether it is the nearest of all, (sources, strengths) each."""
    known = list(album.counterparts.table["source"])
    truth, found = np.full(drawn.shape[:2], np.nan), np.full(drawn.shape[:2], np.nan)
    if not known:
        return truth, found
    likeness = drawn @ album.counterparts.vectors[encoder.name].T
    for row, name in enumerate(names):
        if name in known:
            own = known.index(name)
            truth[row] = likeness[row, :, own]
            found[row] = likeness[row].argmax(1) == own
    return truth, found


def _point(arm: str, look: Look, column: int, resample: Resample) -> dict[str, Any]:
    """One row of the strength curve."""
    means = {name: resample.mean(getattr(look, name)[:, column]) for name in VALUES}
    return {"strength": float(look.strengths[column]), "arm": arm, **columns(**means), "n": resample.clusters}


def _near(found: Findings, look: Look, resample: Resample) -> None:
    """Numbers at the mission's two strengths, where they are in the suite."""
    at = {value: column for column, value in enumerate(look.strengths)}
    for value in (0.65, 0.8):
        if value in at:
            for name in VALUES:
                values = getattr(look, name)[:, at[value]]
                if np.isfinite(values).any():
                    found.numbers[f"strength.at_{value:g}.{name}"] = resample.mean(values)
    if {0.65, 0.8} <= set(at):
        found.numbers["strength.style_rise"] = resample.mean(look.style[:, at[0.8]] - look.style[:, at[0.65]])
        found.numbers["strength.identity_fall"] = resample.mean(look.identity[:, at[0.65]] - look.identity[:, at[0.8]])
    if KEPT in at:
        clusters = [str(row) for row in range(len(look.rows))]
        found.units["identity"] = unit_values(clusters, clusters, lora=look.identity[:, at[KEPT]])


def style_at_equal_identity(weights: Floats, lora: Look, base: Look) -> Floats:
    """LoRA's style, read off its mean curve at the base's mean identity, minus the base's; mean over the base's points.

    NaN for a draw in which no point of the base lies within the LoRA's range of identity.
    """
    total = weights.sum(1, keepdims=True)
    identity, style = weights @ lora.identity / total, weights @ lora.style / total
    others, reached = weights @ base.identity / total, weights @ base.style / total
    gains = [_interpolate(others[:, k], identity, style) - reached[:, k] for k in range(others.shape[1])]
    known = np.isfinite(gains)
    count = known.sum(0)
    mean: Floats = np.where(count > 0, np.where(known, gains, 0.0).sum(0) / np.maximum(count, 1), np.nan)
    return mean


def _interpolate(at: Floats, places: Floats, values: Floats) -> Floats:
    """Each row's piecewise linear curve (places falling along the row) read at `at`; NaN outside."""
    result = np.full(len(at), np.nan)
    for left in range(places.shape[1] - 1):
        high, low = places[:, left], places[:, left + 1]
        inside = (at <= high) & (at >= low) & (high > low) & np.isnan(result)
        share = (high - at) / np.where(high > low, high - low, 1.0)
        result = np.where(inside, values[:, left] + share * (values[:, left + 1] - values[:, left]), result)
    return result


def structure(album: Album) -> Findings:
    """SSIM at 64 px between source and picture by strength: no weights."""
    found, arms = Findings(), _arms(album)
    for arm, table in arms.items():
        order = [list(album.sources.table["source"]).index(name) for name in table.index]
        sources = list(album.sources.open(order, album.size))
        resample = album.resample(table.index, "strength")
        for value in table.columns:
            pictures = album.drawn.open(table[value], album.size)
            alike = np.array([ssim(one, other) for one, other in zip(pictures, sources, strict=True)])
            found.curves.setdefault("structure", []).append(
                {"strength": float(value), "arm": arm, **columns(ssim=resample.mean(alike)), "n": resample.clusters}
            )
    return found

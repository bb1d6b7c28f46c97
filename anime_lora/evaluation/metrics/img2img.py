"""Does strength trade identity for style: img2img of known people, by strength, with and without the LoRA."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics.equal import lead
from anime_lora.evaluation.metrics.labels import Attributes, classify
from anime_lora.evaluation.metrics.pixels import ssim
from anime_lora.evaluation.metrics.results import Findings, columns, unit_values
from anime_lora.evaluation.metrics.similarity import spearman
from anime_lora.evaluation.metrics.style import scale_of_style
from anime_lora.evaluation.statistics import Floats, Resample

VALUES = ("style", "identity", "agreement", "truth", "nearer", "found")
KEPT = 0.65
"""The mission's strength that keeps features; promotion compares identity there."""


@dataclass(frozen=True)
class Look:
    """Values by source and seed (rows) and strength (columns) of one arm."""

    strengths: Floats
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    """Rows of `album.generated`."""
    style: Floats
    identity: Floats
    agreement: Floats
    truth: Floats
    """Cosine to the true counterpart; NaN where there is none."""
    nearer: Floats
    """Share of the other counterparts that are farther than the own one; 0.5 is chance, NaN where there is none."""
    found: Floats
    """1 where the true counterpart is the nearest of all counterparts, else 0; NaN where there is none."""


def strength(album: Album, encoder: Encoder, attributes: Attributes) -> Findings:
    """Style and identity by strength, their rank correlation, agreement of attributes, and the true counterparts."""
    found, arms = Findings(), _arms(album)
    if "lora" not in arms:
        return found
    resample = album.over(arms["lora"], "strength")
    looks = {arm: _look(album, encoder, attributes, table) for arm, table in arms.items()}
    found.curves["strength"] = [
        _point(arm, look, column, resample) for arm, look in looks.items() for column in range(len(look.strengths))
    ]
    lora = looks["lora"]
    for name, values in (("style", lora.style), ("identity", lora.identity)):
        found.numbers[f"strength.rho_{name}"] = resample.mean(spearman(lora.strengths, values), values.size)
    _near(found, lora, resample)
    names = [list(part) for part in zip(*arms["lora"].index, strict=True)]
    _for_promotion(found, lora, names)
    if "base" in looks:
        _against_base(found, lora, looks["base"], resample)
    if "control" in looks:
        _with_control(found, lora, looks["control"], resample)
    return found


def _arms(album: Album) -> dict[str, pd.DataFrame]:
    """For each arm, rows of `album.generated` by source and seed (index) and strength (columns)."""
    table = album.generated.table
    known = set(album.sources.table["source"])
    generated = table[(table["gallery"] == "strength") & table["source"].isin(known)].reset_index(names="row")
    return {
        str(arm): part.pivot_table(index=["source", "seed"], columns="strength", values="row").astype(int)
        for arm, part in generated.groupby("arm")
    }


def _look(album: Album, encoder: Encoder, attributes: Attributes, table: pd.DataFrame) -> Look:
    rows = table.to_numpy()
    generated, style = album.generated.vectors[encoder.name], scale_of_style(album, encoder)
    sources = album.sources.vectors[encoder.name][_order(album, table)]
    identity = np.einsum("skd,sd->sk", generated[rows], sources)
    agreement = (
        _agreement(generated[rows], sources, encoder, attributes) if encoder.reads_text else np.full(rows.shape, np.nan)
    )
    true = _counterparts(album, encoder, list(table.index.get_level_values(0)), generated[rows])
    return Look(table.columns.to_numpy(float), rows, style[rows], identity, agreement, *true)


def _order(album: Album, table: pd.DataFrame) -> list[int]:
    """The row of `album.sources` behind each row of `table`."""
    place = {name: row for row, name in enumerate(album.sources.table["source"])}
    return [place[name] for name in table.index.get_level_values(0)]


def _agreement(generated: Floats, sources: Floats, encoder: Encoder, attributes: Attributes) -> Floats:
    """Share of attributes that the encoder sees alike in image and source, (sources, strengths)."""
    before = classify(sources, encoder, attributes).values
    shape = generated.shape[:2]
    after = classify(generated.reshape(-1, generated.shape[2]), encoder, attributes).values
    alike = [np.array(after[name]).reshape(shape) == np.array(before[name])[:, None] for name in attributes]
    shares: Floats = np.mean(alike, axis=0)
    return shares


def _counterparts(album: Album, encoder: Encoder, names: list[str], generated: Floats) -> tuple[Floats, Floats, Floats]:
    """Cosine to the own counterpart, how many others are farther, whether all are: (rows, strengths) each."""
    known = list(album.counterparts.table["source"])
    truth, nearer, found = (np.full(generated.shape[:2], np.nan) for _ in range(3))
    if len(known) < 2:
        return truth, nearer, found
    likeness = generated @ album.counterparts.vectors[encoder.name].T
    for row, name in enumerate(names):
        if name in known:
            own = likeness[row, :, known.index(name)]
            others = np.delete(likeness[row], known.index(name), axis=1)
            truth[row] = own
            nearer[row] = ((others < own[:, None]) + 0.5 * (others == own[:, None])).mean(1)
            found[row] = (others < own[:, None]).all(1)
    return truth, nearer, found


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


def _for_promotion(found: Findings, look: Look, names: list[list[Any]]) -> None:
    """Identity at `KEPT` by source and seed, where that strength is in the suite."""
    for column in np.flatnonzero(look.strengths == KEPT):
        units = [f"{source} | {seed}" for source, seed in zip(*names, strict=True)]
        found.units["identity"] = unit_values([str(one) for one in names[0]], units, lora=look.identity[:, column])


def _against_base(found: Findings, lora: Look, base: Look, resample: Resample) -> None:
    """Style at equal identity; and how much nearer to the true counterpart the LoRA comes, where both have `KEPT`."""
    found.numbers["strength.style_at_equal_identity"] = resample.estimate(
        lambda w: lead(w, (lora.identity, lora.style), (base.identity, base.style))
    )
    ours, theirs = (look.truth[:, look.strengths == KEPT] for look in (lora, base))
    if ours.size and theirs.size and np.isfinite(ours).any():
        found.numbers["strength.truth_gain"] = resample.mean((ours - theirs)[:, 0], 2 * len(ours))


def _with_control(found: Findings, lora: Look, control: Look, resample: Resample) -> None:
    """Identity with the ControlNet, against the LoRA's without it at the same style; and both plain differences."""
    found.numbers["controlnet.identity_gain"] = resample.estimate(
        lambda w: -lead(w, (lora.style, lora.identity), (control.style, control.identity))
    )
    for column in np.flatnonzero(lora.strengths == control.strengths[0]):
        for name in ("identity", "style"):
            change = getattr(control, name)[:, 0] - getattr(lora, name)[:, column]
            found.numbers[f"controlnet.{name}_change"] = resample.mean(change, 2 * len(change))


def structure(album: Album) -> Findings:
    """SSIM at 64 px between source and image by strength: no weights."""
    found, arms = Findings(), _arms(album)
    for arm, table in arms.items():
        sources = list(album.sources.open(_order(album, table), album.size))
        resample = album.over(table, "strength")
        for value in table.columns:
            images = album.generated.open(table[value], album.size)
            alike = np.array([ssim(one, other) for one, other in zip(images, sources, strict=True)])
            found.curves.setdefault("structure", []).append(
                {"strength": float(value), "arm": arm, **columns(ssim=resample.mean(alike)), "n": resample.clusters}
            )
    return found

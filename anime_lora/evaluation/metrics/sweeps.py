"""One thing changed at a time: guidance, LoRA scale, style words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anime_lora.evaluation.encoders import NO_TEXT, Encoder
from anime_lora.evaluation.image_sets import ImageSets
from anime_lora.evaluation.metrics.pixels import clipped
from anime_lora.evaluation.metrics.style import scale_of_style
from anime_lora.evaluation.statistics import Estimate, Floats, spearman

USUAL_GUIDANCE = 7.5
NO_WORDS = "no style words are set (validate_sample.styles)"


@dataclass(frozen=True)
class GuidancePoint:
    """Means at one guidance; `faithfulness` is the cosine of image and prompt."""

    guidance: float
    faithfulness: Estimate | None
    style: Estimate | None
    clipped: Estimate | None
    diversity: Estimate | None
    n: int


@dataclass(frozen=True)
class GuidanceMetrics:
    """Faithfulness by guidance: rank correlation, and what `USUAL_GUIDANCE` gains over the least."""

    rho_faithfulness: Estimate | None = None
    faithfulness_gain: Estimate | None = None
    points: tuple[GuidancePoint, ...] = ()
    missing: str | None = None


@dataclass(frozen=True)
class ScalePoint:
    """Mean style S at one LoRA scale."""

    scale: float
    style: Estimate | None
    n: int


@dataclass(frozen=True)
class ScaleMetrics:
    """Style by LoRA scale on [0, 1]: rank correlation, and the smallest step of the mean curve."""

    rho_style: Estimate | None = None
    smallest_step: Estimate | None = None
    points: tuple[ScalePoint, ...] = ()
    missing: str | None = None


@dataclass(frozen=True)
class WordPoint:
    """Mean pull of one style word at one guidance."""

    style: str
    guidance: float
    gain: float


@dataclass(frozen=True)
class StyleWordMetrics:
    """What a style word does to the image: cosine gained to the word, share nearest their own word, and change."""

    gain: Estimate | None = None
    nearest_is_own: Estimate | None = None
    change: Estimate | None = None
    points: tuple[WordPoint, ...] = ()
    missing: str | None = None


def measure_guidance(images: ImageSets, encoder: Encoder) -> GuidanceMetrics:
    """Prompt faithfulness, style, clipped pixels and diversity by guidance; faithfulness needs an encoder of texts."""
    units = images.paired("guidance", "guidance")
    resample, vectors = images.over(units, "guidance"), images.generated.vectors[encoder.name]
    style = scale_of_style(images, encoder)
    texts = encoder.texts([str(text) for text in units.index.get_level_values(0)]) if encoder.reads_text else None
    faithful: list[Floats] = []
    points = []
    for value in units.columns:
        rows = units[value].to_numpy()
        faithful.append(np.full(len(rows), np.nan) if texts is None else (vectors[rows] * texts).sum(1))
        pixels = np.array([clipped(one) for one in images.generated.open(rows, images.size)])
        points.append(
            GuidancePoint(
                float(value),
                faithfulness=resample.mean(faithful[-1]),
                style=resample.mean(style[rows]),
                clipped=resample.mean(pixels),
                diversity=resample.pairwise(1 - vectors[rows] @ vectors[rows].T),
                n=resample.clusters,
            )
        )
    if texts is None:
        return GuidanceMetrics(points=tuple(points), missing=NO_TEXT)
    guidances = np.array(units.columns, float)
    usual = int(np.abs(guidances - USUAL_GUIDANCE).argmin())
    return GuidanceMetrics(
        resample.mean(spearman(guidances, np.stack(faithful, 1)), units.size),
        resample.mean(faithful[usual] - faithful[0], 2 * len(units)),
        tuple(points),
    )


def measure_scale(images: ImageSets, encoder: Encoder) -> ScaleMetrics:
    """Style by LoRA scale, and whether it rises with every step on [0, 1]."""
    units = images.paired("scale", "lora_scale")
    resample, style = images.over(units, "scale"), scale_of_style(images, encoder)
    points = tuple(
        ScalePoint(float(value), resample.mean(style[units[value].to_numpy()]), resample.clusters)
        for value in units.columns
    )
    inside = [value for value in units.columns if 0 <= float(value) <= 1]
    if len(inside) < 2:
        return ScaleMetrics(points=points, missing="fewer than two scales between 0 and 1 (validate_sample.scales)")
    values = style[units[inside].to_numpy()]
    return ScaleMetrics(
        resample.mean(spearman(np.array(inside, float), values), values.size),
        resample.estimate(lambda w: _smallest_step(w, values), values.size),
        points,
    )


def _smallest_step(weights: Floats, values: Floats) -> Floats:
    """The smallest step of the mean curve from one scale to the next: above 0 it rises all the way."""
    means = weights @ values / weights.sum(1, keepdims=True)
    smallest: Floats = np.diff(means, axis=1).min(1)
    return smallest


def measure_style_words(images: ImageSets, encoder: Encoder, words: Mapping[str, str]) -> StyleWordMetrics:
    """Does a style word pull the image its way: cosine to the word, with it minus without it, on the same noise."""
    table = images.generated.table[images.generated.table["gallery"] == "styles"].reset_index(names="row")
    if not len(table):
        return StyleWordMetrics(missing=NO_WORDS)
    vectors, texts = images.generated.vectors[encoder.name], encoder.texts(list(words.values()))
    plain = table[table["style"].isna()].set_index(["cluster", "guidance"])["row"]
    worded = table[table["style"].notna()].reset_index(drop=True)
    own = [list(words).index(name) for name in worded["style"]]
    before = vectors[[plain[key] for key in zip(worded["cluster"], worded["guidance"], strict=True)]]
    after = vectors[worded["row"]]
    likeness = after @ texts.T
    gain = (likeness - before @ texts.T)[np.arange(len(own)), own]
    resample = images.resample(list(zip(worded["cluster"], worded["style"], strict=True)), "styles")
    return StyleWordMetrics(
        gain=resample.mean(gain, len(gain) + len(plain)),
        nearest_is_own=resample.mean((likeness.argmax(1) == own).astype(float)),
        change=resample.mean((1 - (after * before).sum(1)) / 2),
        points=tuple(
            WordPoint(style, at, float(gain[(worded["style"] == style) & (worded["guidance"] == at)].mean()))
            for style in words
            for at in dict.fromkeys(worded["guidance"])
        ),
    )

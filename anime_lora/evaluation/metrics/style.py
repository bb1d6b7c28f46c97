"""Is the style learned, and does the trigger word call it: style S, CMMD, the domain, and the 2×2 with the trigger."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import ImageSets
from anime_lora.evaluation.statistics import Estimate, Floats, PairedUnits, exact, pairwise_mean

BANDWIDTH, FACTOR = 10.0, 1000.0
"""σ of the Gaussian kernel and the factor of CMMD (Jayasumana et al. 2024, arXiv:2401.09603)."""


@dataclass(frozen=True)
class StyleMetrics:
    """Style S of the LoRA against the base on the same prompts and noise, the scores behind it, and the CMMD of both.

    Where nothing was measured all are None and `missing` says why, as in every class of metrics.
    """

    score: Estimate | None = None
    base_score: Estimate | None = None
    lora_score: Estimate | None = None
    own_score: Estimate | None = None
    """Of the held-out images themselves."""
    cmmd_base: Estimate | None = None
    cmmd_lora: Estimate | None = None
    cmmd_fall: Estimate | None = None
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class DomainMetrics:
    """Share of images that the encoder takes for the style's domain; `ceiling` is that of held-out images."""

    base: Estimate | None = None
    lora: Estimate | None = None
    ceiling: Estimate | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Cells:
    """One number for each cell of the 2×2."""

    base_plain: Estimate | None = None
    base_trigger: Estimate | None = None
    lora_plain: Estimate | None = None
    lora_trigger: Estimate | None = None


@dataclass(frozen=True)
class TriggerMetrics:
    """Effects of trigger and LoRA in units of S, and the consistency (mean pairwise cosine) within each cell."""

    interaction: Estimate | None = None
    """The trigger's gain with the LoRA, minus that of the base."""
    gain_with_lora: Estimate | None = None
    gain_of_base: Estimate | None = None
    lora_gain: Estimate | None = None
    style: Cells = Cells()
    consistency: Cells = Cells()
    consistency_gain: Estimate | None = None
    missing: str | None = None


def measure_style(images: ImageSets, encoder: Encoder) -> StyleMetrics:
    """Style S and CMMD of the images whose prompt holds the trigger."""
    units = images.trigger_units()
    holdout, generated = images.holdout.vectors[encoder.name], images.generated.vectors[encoder.name]
    resample, own = images.resample(units.prompts, "style"), own_score(holdout)
    base_vectors, lora_vectors = generated[units.base_trigger], generated[units.lora_trigger]
    base, lora = style_score(base_vectors, holdout), style_score(lora_vectors, holdout)
    return StyleMetrics(
        score=resample.estimate(
            lambda w: style_s(w @ lora / w.sum(1), w @ base / w.sum(1), own), images=2 * len(units)
        ),
        base_score=resample.mean(base),
        lora_score=resample.mean(lora),
        own_score=exact(own, len(holdout)),
        cmmd_base=resample.estimate(lambda w: cmmd(w, base_vectors, holdout)),
        cmmd_lora=resample.estimate(lambda w: cmmd(w, lora_vectors, holdout)),
        cmmd_fall=resample.estimate(lambda w: cmmd(w, base_vectors, holdout) - cmmd(w, lora_vectors, holdout)),
        units=PairedUnits(units.prompts, units.names, lora=lora.tolist(), base=base.tolist(), own=own),
    )


def measure_domain(images: ImageSets, encoder: Encoder, domains: Mapping[str, str], domain: str) -> DomainMetrics:
    """Zero-shot domain of base's, LoRA's and held-out images.

    Args:
        images: encoded by `encoder`.
        encoder: one that reads text.
        domains: the text of each domain.
        domain: the one that was to be learned.
    """
    units, names = images.trigger_units(), list(domains)
    texts = encoder.texts(list(domains.values()))
    resample = images.resample(units.prompts, "domain")
    hits = (images.generated.vectors[encoder.name] @ texts.T).argmax(1) == names.index(domain)
    real = (images.holdout.vectors[encoder.name] @ texts.T).argmax(1) == names.index(domain)
    return DomainMetrics(
        base=resample.mean(hits[units.base_trigger].astype(float)),
        lora=resample.mean(hits[units.lora_trigger].astype(float)),
        ceiling=exact(float(real.mean()), len(real)),
    )


def measure_trigger(images: ImageSets, encoder: Encoder) -> TriggerMetrics:
    """Trigger gain, LoRA gain, their interaction, and the consistency within each cell."""
    units = images.trigger_units()
    resample, vectors = images.resample(units.prompts, "trigger"), images.generated.vectors[encoder.name]
    s = scale_of_style(images, encoder)
    cells = (units.base_plain, units.base_trigger, units.lora_plain, units.lora_trigger)
    b0, bt, l0, lt = (s[rows] for rows in cells)
    # Each factor is a copy of its own: NumPy multiplies one array with its own transpose by another BLAS routine, whose
    # last digits differ.
    kernels = [vectors[rows] @ vectors[rows].T for rows in cells]
    count = 4 * len(units)
    return TriggerMetrics(
        interaction=resample.mean((lt - l0) - (bt - b0), count),
        gain_with_lora=resample.mean(lt - l0, count),
        gain_of_base=resample.mean(bt - b0, count),
        lora_gain=resample.mean(lt - bt, count),
        style=Cells(*(resample.mean(values) for values in (b0, bt, l0, lt))),
        consistency=Cells(*(resample.pairwise(kernel) for kernel in kernels)),
        consistency_gain=resample.pairwise(kernels[3] - kernels[2]),
    )


def scale_of_style(images: ImageSets, encoder: Encoder) -> Floats:
    """S of every generated image, (n,): 0 at the base's mean on the concept's prompts, 1 at the style's own."""
    holdout, generated = images.holdout.vectors[encoder.name], images.generated.vectors[encoder.name]
    scores = style_score(generated, holdout)
    return style_s(scores, scores[images.trigger_units().base_trigger].mean(), own_score(holdout))


def style_score(vectors: Floats, style: Floats) -> Floats:
    """s(x): mean cosine of each of n images to the held-out style images, (n,)."""
    scores: Floats = (vectors @ style.T).mean(1)
    return scores


def own_score(style: Floats) -> float:
    """s_HH: mean cosine between two different style images."""
    return float(pairwise_mean(np.ones((1, len(style))), style @ style.T)[0])


def style_s(scores: Floats | float, base: Floats | float, own: Floats | float) -> Floats:
    """S: 0 at the base's score, 1 at the style images' own; NaN where the base is there already."""
    room = np.asarray(own - base, dtype=float)
    return np.where(room > 1e-6, (scores - base) / np.where(room > 1e-6, room, 1.0), np.nan)


def gaussian(ones: Floats, others: Floats, bandwidth: float = BANDWIDTH) -> Floats:
    """exp(−|x−y|²/2σ²) for every pair, (n, m)."""
    squared = (ones**2).sum(1)[:, None] + (others**2).sum(1)[None, :] - 2 * ones @ others.T
    kernel: Floats = np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2))
    return kernel


def cmmd(weights: Floats, generated: Floats, style: Floats, bandwidth: float = BANDWIDTH) -> Floats:
    """Unbiased squared MMD (U-statistic) times 1000 between generated images and style images, one per row of weights.

    Its mean under "no difference" is 0, so it can be negative; the public CMMD code is the biased V-statistic.
    """
    inside = pairwise_mean(weights, gaussian(generated, generated, bandwidth))
    cross = weights @ gaussian(generated, style, bandwidth).mean(1) / weights.sum(1)
    own = pairwise_mean(np.ones((1, len(style))), gaussian(style, style, bandwidth))[0]
    distance: Floats = FACTOR * (inside + own - 2 * cross)
    return distance

"""Do two LoRAs combine: each style's score with both on.

1 is that LoRA alone; 0 is the base, or the other LoRA alone where that one happens to score higher: what a style
gets without its own LoRA.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.metrics.similarity import between, style_score
from anime_lora.evaluation.statistics import Floats

ARMS = ("base", "lora", "second", "both")


def combining(album: Album, encoder: Encoder) -> Findings:
    """Both styles' scores with both LoRAs on; nothing where no second LoRA was used.

    The first style is the held-out images'. The second is the way from the base's images of the other prompts to
    those that the second LoRA generates alone: no word for it is needed, and no prompt is compared with itself.
    """
    found = Findings()
    if not (album.generated.table["gallery"] == "combining").any():
        return found
    units = album.paired("combining", "arm")
    resample, generated = album.over(units, "combining"), album.generated.vectors[encoder.name]
    held, way = album.holdout.vectors[encoder.name], generated[units["second"]] - generated[units["base"]]
    clusters = np.array([str(key[0]) for key in units.index])
    first = {arm: style_score(generated[units[arm]], held) for arm in ARMS}
    second = {arm: along(generated[units[arm]], way, clusters) for arm in ARMS}
    count = 4 * len(units)
    shares = {"first": (first, "lora", "second"), "second": (second, "second", "lora")}
    for name, (scores, own, other) in shares.items():
        share = partial(kept, scores=scores, own=own, other=other)
        found.numbers[f"combining.{name}"] = resample.estimate(share, count)
        found.numbers[f"combining.{name}_gain"] = resample.mean(scores["both"] - scores["base"], 2 * len(units))
    found.numbers["combining.weaker"] = resample.estimate(
        lambda w: np.minimum(*(gained(w, scores, other) for scores, _, other in shares.values())), count
    )
    return found


def along(vectors: Floats, way: Floats, clusters: NDArray[np.str_]) -> Floats:
    """How far each image lies in the mean direction that the second LoRA takes on the other prompts, (n,)."""
    different = clusters[:, None] != clusters[None, :]
    means: Floats = np.where(different, vectors @ way.T, 0).sum(1) / different.sum(1)
    return means


def gained(weights: Floats, scores: dict[str, Floats], other: str) -> Floats:
    """Score with both on minus what there is without the style's own LoRA: the better of base and `other` alone."""
    base, without, both = (weights @ scores[arm] / weights.sum(1) for arm in ("base", other, "both"))
    return np.asarray(both - np.maximum(base, without))


def kept(weights: Floats, scores: dict[str, Floats], own: str, other: str) -> Floats:
    """Where both stand between what there is without the LoRA `own` (0) and it alone (1); NaN where it has no style."""
    total = weights.sum(1)
    base, without, both, top = (weights @ scores[arm] / total for arm in ("base", other, "both", own))
    return between(both, np.maximum(base, without), top)

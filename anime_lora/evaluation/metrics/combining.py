"""Do two LoRAs combine: each style's score with both on.

1 is that LoRA alone; 0 is the base, or the other LoRA alone where that one happens to score higher: what a style
gets without its own LoRA.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import ImageSets
from anime_lora.evaluation.metrics.style import style_s, style_score
from anime_lora.evaluation.statistics import Estimate, Floats

NO_SECOND = "there is no second LoRA with a style of its own (validate_sample.second_adapter)"


@dataclass(frozen=True)
class CombiningMetrics:
    """Each style with both LoRAs on: on the scale of the module's docstring, and its score minus the base's."""

    first: Estimate | None = None
    first_gain: Estimate | None = None
    second: Estimate | None = None
    second_gain: Estimate | None = None
    weaker: Estimate | None = None
    """What the style that gains less gains over the base and over the other LoRA alone."""
    missing: str | None = None


@dataclass(frozen=True)
class StyleArms:
    """One style's score by unit, (n,) each: of the base, of its own LoRA, of the other one, and of both."""

    base: Floats
    own: Floats
    other: Floats
    both: Floats

    def gain(self, weights: Floats) -> Floats:
        """Score with both on minus what there is without the own LoRA: the better of base and other alone, (rows,)."""
        base, other, both = (weights @ scores / weights.sum(1) for scores in (self.base, self.other, self.both))
        return np.asarray(both - np.maximum(base, other))

    def share(self, weights: Floats) -> Floats:
        """Where both stand between what there is without the own LoRA (0) and it alone (1); NaN where it has none."""
        total = weights.sum(1)
        base, own, other, both = (weights @ one / total for one in (self.base, self.own, self.other, self.both))
        return style_s(both, np.maximum(base, other), own)


def measure_combining(images: ImageSets, encoder: Encoder) -> CombiningMetrics:
    """Both styles' scores with both LoRAs on.

    The first style is the held-out images'. The second is the way from the base's images of the other prompts to
    those that the second LoRA generates alone: no word for it is needed, and no prompt is compared with itself.
    """
    if not (images.generated.table["gallery"] == "combining").any():
        return CombiningMetrics(missing=NO_SECOND)
    units = images.paired("combining", "arm")
    resample, vectors = images.over(units, "combining"), images.generated.vectors[encoder.name]
    base, lora, second, both = (vectors[units[arm]] for arm in ("base", "lora", "second", "both"))
    holdout, way = images.holdout.vectors[encoder.name], second - base
    prompts = np.array([str(key[0]) for key in units.index])
    of_first = StyleArms(*(style_score(one, holdout) for one in (base, lora, second, both)))
    of_second = StyleArms(*(along(one, way, prompts) for one in (base, second, lora, both)))
    count = 4 * len(units)
    return CombiningMetrics(
        first=resample.estimate(of_first.share, count),
        first_gain=resample.mean(of_first.both - of_first.base, 2 * len(units)),
        second=resample.estimate(of_second.share, count),
        second_gain=resample.mean(of_second.both - of_second.base, 2 * len(units)),
        weaker=resample.estimate(lambda w: np.minimum(of_first.gain(w), of_second.gain(w)), count),
    )


def along(vectors: Floats, way: Floats, prompts: NDArray[np.str_]) -> Floats:
    """How far each image lies in the mean direction that the second LoRA takes on the other prompts, (n,)."""
    different = prompts[:, None] != prompts[None, :]
    means: Floats = np.where(different, vectors @ way.T, 0).sum(1) / different.sum(1)
    return means

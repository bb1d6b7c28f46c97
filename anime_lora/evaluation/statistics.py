"""Intervals by cluster bootstrap: clusters (prompts, sources) are resampled with replacement, then their seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval (None: one cluster has none), its `n` clusters and the images behind it."""

    value: float
    low: float | None
    high: float | None
    n: int
    pictures: int

    def above(self, limit: float) -> bool:
        """The whole interval lies above `limit`."""
        return self.low is not None and self.low > limit

    def below(self, limit: float) -> bool:
        """The whole interval lies below `limit`."""
        return self.high is not None and self.high < limit


class Resample:
    """How often each unit is sampled, for many bootstrap resamples at once.

    A unit is one (prompt, seed) or one source, with a value in every arm, so that arms stay paired.
    `weights` is (resamples + 1, units); row 0 is all ones and gives the number itself.
    """

    def __init__(self, clusters: Sequence[object], resamples: int, seed: int) -> None:
        names = list(dict.fromkeys(clusters))
        members = [np.flatnonzero([one == name for one in clusters]) for name in names]
        rng = np.random.default_rng(seed)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        self.weights = np.ones((resamples + 1, len(clusters)))
        for cluster, units in enumerate(members):
            sampled = rng.multinomial(times[:, cluster] * len(units), np.full(len(units), 1 / len(units)))
            self.weights[1:, units] = sampled
        self.clusters = len(names)

    def estimate(self, statistic: Callable[[Floats], Floats], images: int | None = None) -> Estimate:
        """`statistic` maps weights (rows, units) to one number per row; rows without one (NaN) are left out."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sampled = statistic(self.weights)
        low, high = expanded_percentiles(sampled[1:], self.clusters)
        count = self.weights.shape[1] if images is None else images
        return Estimate(float(sampled[0]), low, high, self.clusters, count)

    def mean(self, values: Floats, images: int | None = None) -> Estimate:
        """Mean of one value per unit; NaN where a unit has none."""
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        return self.estimate(lambda weights: weights @ filled / (weights @ known), images)

    def pairwise(self, kernel: Floats) -> Estimate:
        """`pairwise_mean` of a symmetric (units, units) kernel."""
        return self.estimate(lambda weights: pairwise_mean(weights, kernel))


def pairwise_mean(weights: Floats, kernel: Floats) -> Floats:
    """Mean of kernel[i, j] over pairs of different units, weighted: (rows,). A unit is never its own pair."""
    others = kernel - np.diag(np.diag(kernel))
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    found: Floats = np.einsum("bi,bi->b", weights @ others, weights) / pairs
    return found


def expanded_percentiles(sampled: Floats, n: int) -> tuple[float | None, float | None]:
    """The bootstrap's percentiles, widened for few clusters so that 95 % really is about 95 %.

    Instead of 2.5 % the tail is Φ(−sqrt(n/(n−1))·t): Hesterberg, What Teachers Should Know About the Bootstrap
    (2015), section 3.1.1.
    """
    known = sampled[np.isfinite(sampled)]
    if n < 2 or not len(known):
        return None, None
    reach = math.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1)
    tail = float(stats.norm.cdf(-reach))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)

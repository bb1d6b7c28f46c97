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
    """A finite number with its 95 % interval (None: there is none), its `n` clusters and the images behind it."""

    value: float
    low: float | None
    high: float | None
    n: int
    images: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both bounds, where there are any."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def exact(value: float, n: int) -> Estimate:
    """A number of one fixed set of `n` images: nothing is resampled, so it has no interval."""
    return Estimate(value, None, None, n, n)


def is_above(estimate: Estimate | None, limit: float) -> bool:
    """Whether the whole interval lies above `limit`; not where there is none."""
    return estimate is not None and estimate.low is not None and estimate.low > limit


def is_below(estimate: Estimate | None, limit: float) -> bool:
    """Whether the whole interval lies below `limit`; not where there is none."""
    return estimate is not None and estimate.high is not None and estimate.high < limit


@dataclass(frozen=True)
class PairedUnits:
    """Values of one measure by unit, of which two LoRAs' are compared in pairs: lists of one length.

    `own` is what the style images themselves reach, where the measure has that.
    """

    clusters: list[str]
    units: list[str]
    lora: list[float]
    base: list[float] | None = None
    own: float | None = None


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

    def estimate(self, statistic: Callable[[Floats], Floats], images: int | None = None) -> Estimate | None:
        """`statistic` of the units with its interval; None where it has no finite value.

        Args:
            statistic: maps weights (rows, units) to one number per row; rows without one (NaN) are left out.
            images: how many images are behind it; None: one per unit.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            sampled = statistic(self.weights)
        if not np.isfinite(sampled[0]):
            return None
        low, high = expanded_percentiles(sampled[1:], self.clusters)
        count = self.weights.shape[1] if images is None else images
        return Estimate(float(sampled[0]), low, high, self.clusters, count)

    def mean(self, values: Floats, images: int | None = None) -> Estimate | None:
        """Mean of one value per unit (NaN where a unit has none); None where none has one."""
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        return self.estimate(lambda weights: weights @ filled / (weights @ known), images)

    def pairwise(self, kernel: Floats) -> Estimate | None:
        """`pairwise_mean` of a symmetric (units, units) kernel."""
        return self.estimate(lambda weights: pairwise_mean(weights, kernel))


def pairwise_mean(weights: Floats, kernel: Floats) -> Floats:
    """Mean of kernel[i, j] over pairs of different units, weighted: (rows,). A unit is never its own pair."""
    others = kernel - np.diag(np.diag(kernel))
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    means: Floats = np.einsum("bi,bi->b", weights @ others, weights) / pairs
    return means


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


def spearman(positions: Floats, values: Floats) -> Floats:
    """Rank correlation of each row of `values` (rows, k) with `positions` (k,); 0 where a row never changes."""
    ranks, places = _ranks(values), _ranks(positions[None])[0]
    ranks, places = ranks - ranks.mean(1, keepdims=True), places - places.mean()
    spread = np.sqrt((ranks**2).sum(1) * (places**2).sum())
    rho: Floats = np.where(spread > 0, ranks @ places / np.where(spread > 0, spread, 1.0), 0.0)
    return rho


def _ranks(values: Floats) -> Floats:
    """Ranks within each row, ties shared."""
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    same = (values[:, None, :] == values[:, :, None]).sum(2)
    ranks: Floats = below + (same - 1) / 2.0
    return ranks

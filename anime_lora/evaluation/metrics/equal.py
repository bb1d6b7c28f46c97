"""Two arms held against each other at an equal value of something: style at equal identity, identity at equal style."""

import numpy as np

from anime_lora.evaluation.statistics import Floats

Pair = tuple[Floats, Floats]
"""What is held equal and what is compared, (units, k) each."""


def lead(weights: Floats, curve: Pair, points: Pair) -> Floats:
    """How far `curve` lies above `points` where the first value is equal, mean over the points, (rows,).

    Args:
        weights: of the units, (rows, units).
        curve: an arm at several strengths; its mean curve is read between them.
        points: the arm it is held against.

    NaN for a row in which no point lies within the curve's range.
    """
    total = weights.sum(1, keepdims=True)
    (at, values), (wanted, reached) = ([weights @ one / total for one in pair] for pair in (curve, points))
    gains = [read_off(wanted[:, k], at, values) - reached[:, k] for k in range(wanted.shape[1])]
    known = np.isfinite(gains)
    count = known.sum(0)
    mean: Floats = np.where(count > 0, np.where(known, gains, 0.0).sum(0) / np.maximum(count, 1), np.nan)
    return mean


def read_off(wanted: Floats, at: Floats, values: Floats) -> Floats:
    """Each row's piecewise linear curve `values` over `at` read at `wanted`, on its first such piece; NaN outside."""
    result = np.full(len(wanted), np.nan)
    for left in range(at.shape[1] - 1):
        start, end = at[:, left], at[:, left + 1]
        inside = (wanted >= np.minimum(start, end)) & (wanted <= np.maximum(start, end)) & (start != end)
        share = (wanted - start) / np.where(start != end, end - start, 1.0)
        read = values[:, left] + share * (values[:, left + 1] - values[:, left])
        result = np.where(inside & np.isnan(result), read, result)
    return result

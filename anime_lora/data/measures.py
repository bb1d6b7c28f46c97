"""Numbers that say whether an image is usable, and how far the numbers of two sets of images lie apart."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Images are measured at this width and height, so that a limit means the same for each."""


def contrast(values: NDArray[np.float64]) -> float:
    """Standard deviation of luma: 0 is blank, 127.5 the most there can be."""
    return round(float(values.std()), 3)


def laplacian_variance(values: NDArray[np.float64]) -> float:
    """Variance of the four-neighbour Laplacian of luma (Pech-Pacheco et al. 2000): small where an image is blurred."""
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return round(float(laplacian.var()), 3)


def psi(before: NDArray[np.float64], now: NDArray[np.float64], bins: int = 10) -> float:
    """Population stability index of two samples over the deciles of the first: < 0.1 stable, > 0.25 shifted."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1) / len(sample) for sample in (before, now)
    ]
    # A share of 0 would make the index infinite: an empty bin counts as one in ten thousand.
    first, second = (np.clip(share, 1e-4, None) for share in shares)
    return round(float(((second - first) * np.log(second / first)).sum()), 4)


def dataset_drift(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """PSI of each measure that has values in both versions of a dataset."""
    return {
        name: psi(np.array(before[name], float), np.array(values, float))
        for name, values in now.items()
        if len(values) and len(before.get(name, ()))
    }

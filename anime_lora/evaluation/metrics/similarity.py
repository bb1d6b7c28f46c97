"""How alike images are, as functions of unit vectors."""

import numpy as np

from anime_lora.evaluation.statistics import Floats, pairwise_mean

BANDWIDTH, FACTOR = 10.0, 1000.0
"""σ of the Gaussian kernel and the factor of CMMD (Jayasumana et al. 2024, arXiv:2401.09603)."""


def style_score(vectors: Floats, style: Floats) -> Floats:
    """s(x): mean cosine of each of n images to the held-out style images, (n,)."""
    scores: Floats = (vectors @ style.T).mean(1)
    return scores


def own_score(style: Floats) -> float:
    """s_HH: mean cosine between two different style images."""
    return float(pairwise_mean(np.ones((1, len(style))), style @ style.T)[0])


def between(scores: Floats | float, base: Floats | float, own: Floats | float) -> Floats:
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


def spearman(positions: Floats, values: Floats) -> Floats:
    """Rank correlation of each row of `values` (rows, k) with `positions` (k,); 0 where a row never changes."""
    ranks, places = _ranks(values), _ranks(positions[None])[0]
    ranks, places = ranks - ranks.mean(1, keepdims=True), places - places.mean()
    spread = np.sqrt((ranks**2).sum(1) * (places**2).sum())
    found: Floats = np.where(spread > 0, ranks @ places / np.where(spread > 0, spread, 1.0), 0.0)
    return found


def _ranks(values: Floats) -> Floats:
    """Ranks within each row, ties shared."""
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    same = (values[:, None, :] == values[:, :, None]).sum(2)
    ranks: Floats = below + (same - 1) / 2.0
    return ranks


def memorisation(generated: Floats, train: Floats, holdout: Floats) -> Floats:
    """For each image, the share of held-out ones that lie farther from their nearest training image than it, (n,).

    Its mean is A: 0.5 where generated images are as near to the training images as new ones of the style are, 1 for
    copies (Meehan, Chaudhuri and Dasgupta 2020, arXiv:2004.05675: the Mann-Whitney statistic of the two distances).
    Both look at the same training images, so the sizes of the sets do not matter.
    """
    own, new = ((one @ train.T).max(1) for one in (generated, holdout))
    farther, level = (new[None] < own[:, None]).mean(1), (new[None] == own[:, None]).mean(1)
    share: Floats = farther + level / 2
    return share

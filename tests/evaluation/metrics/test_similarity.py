import numpy as np
import pytest
from scipy import stats

from anime_lora.evaluation.metrics.similarity import (
    between,
    cmmd,
    gaussian,
    memorisation,
    own_score,
    spearman,
    style_score,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_style() -> None:
    """Mean cosines, 0 at the base and 1 at the style itself."""
    style = np.array([[1.0, 0], [0, 1.0]])
    assert style_score(np.array([[1.0, 0]]), style).tolist() == [0.5]
    assert own_score(style) == 0.0
    assert between(np.array([0.2, 0.5, 0.8]), 0.2, 0.8) == pytest.approx([0, 0.5, 1])
    assert np.isnan(between(0.5, 0.9, 0.8))


def test_cmmd_of_shifted_gaussians() -> None:
    """Gaussians shifted by δ give the analytic distance; samples of the same one give about 0, on average exactly."""
    rng, dim, spread, sigma = np.random.default_rng(0), 4, 0.5, 2.0
    shift = np.array([1.0, 0, 0.5, 0])
    width = 1 + 2 * spread**2 / sigma**2
    analytic = 2000 * width ** (-dim / 2) * (1 - np.exp(-(shift**2).sum() / (2 * sigma**2 * width)))
    same, moved = [], []
    for _ in range(60):
        ones, others = (rng.normal(0, spread, (80, dim)) for _ in range(2))
        same.append(cmmd(np.ones((1, 80)), ones, others, sigma)[0])
        moved.append(cmmd(np.ones((1, 80)), ones + shift, others, sigma)[0])
    assert np.mean(moved) == pytest.approx(analytic, rel=0.03)
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)


def test_cmmd_weights() -> None:
    """A weight of 2 counts an image twice but never against itself."""
    rng = np.random.default_rng(1)
    generated, style = unit(rng.normal(size=(3, 5))), unit(rng.normal(size=(4, 5)))
    kernel, cross = gaussian(generated, generated), gaussian(generated, style).mean(1)
    own = gaussian(style, style)
    inside = kernel[0, 1]
    expected = inside + (own.sum() - 4) / 12 - 2 * (2 * cross[0] + cross[1]) / 3
    assert cmmd(np.array([[2.0, 1, 0]]), generated, style)[0] == pytest.approx(1000 * expected)


def test_spearman() -> None:
    """As scipy's, ties included; a constant row has none."""
    rng = np.random.default_rng(2)
    places, values = np.array([0.3, 0.5, 0.65, 0.8, 0.95]), rng.integers(0, 4, (20, 5)).astype(float)
    expected = [stats.spearmanr(places, row).statistic if len(set(row)) > 1 else 0 for row in values]
    assert spearman(places, values) == pytest.approx(expected)


def test_memorisation() -> None:
    """Copies give 1, new images of the same kind 0.5, images of another kind 0; ties count half."""
    rng = np.random.default_rng(3)
    train, holdout, new = (unit(rng.normal(size=(n, 16)) + 4 * np.eye(16)[0]) for n in (200, 400, 4000))
    assert memorisation(train[:5], train, holdout).tolist() == [1.0] * 5
    assert memorisation(holdout, train, holdout).mean() == pytest.approx(0.5)
    assert memorisation(new, train, holdout).mean() == pytest.approx(0.5, abs=0.05)
    assert memorisation(-new, train, holdout).max() == 0


@pytest.mark.parametrize(("taught", "held"), [(217, 23), (20, 20), (10, 100)])
def test_memorisation_sees_copies_whatever_the_split(taught: int, held: int) -> None:
    """Half the generated images are copies: A is 0.75 on average, however many images are held out."""
    rng, found = np.random.default_rng(4), []
    for _ in range(60):
        train, holdout, new = (unit(rng.normal(size=(n, 6))) for n in (taught, held, 8))
        found.append(memorisation(np.concatenate([train[:8], new]), train, holdout).mean())
    assert np.mean(found) == pytest.approx(0.75, abs=0.03)

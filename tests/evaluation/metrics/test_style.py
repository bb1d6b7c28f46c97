import numpy as np
import pytest

from anime_lora.evaluation.metrics.style import cmmd, gaussian, own_score, style_s, style_score


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_s_is_0_at_the_base_and_1_at_the_style_itself() -> None:
    style = np.array([[1.0, 0], [0, 1.0]])
    assert style_score(np.array([[1.0, 0]]), style).tolist() == [0.5]
    assert own_score(style) == 0.0
    assert style_s(np.array([0.2, 0.5, 0.8]), 0.2, 0.8) == pytest.approx([0, 0.5, 1])
    assert np.isnan(style_s(0.5, 0.9, 0.8))


def test_cmmd_of_shifted_gaussians_is_the_analytic_distance() -> None:
    """Samples of the same one give about 0, on average exactly."""
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


def test_a_weight_of_2_counts_an_image_twice_but_never_against_itself() -> None:
    rng = np.random.default_rng(1)
    generated, style = unit(rng.normal(size=(3, 5))), unit(rng.normal(size=(4, 5)))
    kernel, cross = gaussian(generated, generated), gaussian(generated, style).mean(1)
    own = gaussian(style, style)
    inside = kernel[0, 1]
    expected = inside + (own.sum() - 4) / 12 - 2 * (2 * cross[0] + cross[1]) / 3
    assert cmmd(np.array([[2.0, 1, 0]]), generated, style)[0] == pytest.approx(1000 * expected)

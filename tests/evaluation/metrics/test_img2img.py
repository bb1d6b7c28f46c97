import numpy as np
import pytest

from anime_lora.evaluation.metrics.img2img import interpolate, lead


def test_interpolate() -> None:
    """Between two points of the curve the line, on rising and falling pieces; outside NaN; the first piece counts."""
    at, values = np.array([[0.0, 1.0, 0.0]]), np.array([[5.0, 7.0, 100.0]])
    assert interpolate(np.array([0.25]), at, values)[0] == pytest.approx(5.5)
    assert interpolate(np.array([1.0]), at, values)[0] == pytest.approx(7)
    assert np.isnan(interpolate(np.array([1.1]), at, values)[0])


def test_lead() -> None:
    """How far the mean curve lies above the points at their own first value; weights pick the units."""
    curve = (np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 3.0]]))
    points = (np.array([[0.5], [0.5]]), np.array([[0.2], [0.2]]))
    assert lead(np.array([[1.0, 1.0], [2.0, 0.0]]), curve, points) == pytest.approx([1.0 - 0.2, 0.5 - 0.2])
    assert np.isnan(lead(np.ones((1, 2)), curve, (np.full((2, 1), 2.0), points[1]))[0])

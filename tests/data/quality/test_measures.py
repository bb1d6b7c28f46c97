"""Measures against values worked out by hand."""

import numpy as np
import pytest

from anime_lora.data.quality.measures import SIDE, contrast, dataset_drift, laplacian_variance, phash, psi
from anime_lora.images import luma
from tests.data.conftest import image


def test_contrast_is_zero_for_a_blank_image_and_greatest_for_black_and_white() -> None:
    half = np.zeros((SIDE, SIDE))
    half[:, : SIDE // 2] = 255
    assert (contrast(np.full((SIDE, SIDE), 90.0)), contrast(half)) == (0.0, 127.5)


def test_the_laplacian_varies_with_detail_and_not_with_a_slope() -> None:
    """A ramp has no second derivative; of a checkerboard each pixel's is eight times its distance from the mean."""
    ramp = np.tile(np.arange(SIDE, dtype=float), (SIDE, 1))
    board = np.indices((SIDE, SIDE)).sum(0) % 2 * 2.0 - 1
    assert laplacian_variance(ramp) == 0
    assert laplacian_variance(board) == pytest.approx(64)


def test_psi_is_zero_for_equal_and_large_for_shifted_samples() -> None:
    sample = np.random.default_rng(0).normal(size=5000)
    assert psi(sample, sample) == 0
    assert psi(sample, sample + 1) > 0.25


def test_psi_is_the_sum_over_the_deciles_of_the_first_sample() -> None:
    """Half of the first sample lies on each side; nine tenths of the second on one: (0.4 + 0.4) · ln(9) / 2."""
    before, now = np.array([0.0] * 50 + [1.0] * 50), np.array([0.0] * 90 + [1.0] * 10)
    expected = (0.9 - 0.5) * np.log(0.9 / 0.5) + (0.1 - 0.5) * np.log(0.1 / 0.5)
    assert psi(before, now, bins=2) == pytest.approx(expected, abs=1e-4)


def test_drift_is_measured_where_both_versions_have_values() -> None:
    assert dataset_drift({"a": [1.0, 2.0], "b": []}, {"a": [1.0, 2.0], "b": [1.0], "c": [1.0]}) == {"a": 0.0}


def test_a_hash_of_another_brightness_is_near_and_of_another_image_far() -> None:
    def bits(one: str, other: str) -> int:
        return (int(one, 16) ^ int(other, 16)).bit_count()

    first, darker, other = (
        phash(luma(one, SIDE)) for one in (image(0), image(0).point(lambda value: value * 0.9), image(1))
    )
    assert bits(first, darker) <= 4
    assert bits(first, other) > 16

import numpy as np
import pytest
from scipy import stats

from anime_lora.evaluation.statistics import (
    Estimate,
    Resample,
    exact,
    expanded_percentiles,
    is_above,
    is_below,
    pairwise_mean,
    spearman,
)


def mean(resample: Resample, values: np.ndarray) -> Estimate:
    estimate = resample.mean(values)
    assert estimate is not None
    return estimate


@pytest.mark.parametrize("clusters", [8, 24])
def test_95_percent_intervals_hold_the_true_value_in_93_to_97_percent_of_studies(clusters: int) -> None:
    """Paired differences of synthetic studies, few and many clusters."""
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(clusters), 2)
    resample, hits, studies = Resample(names, 1000, 0), 0, 1500
    for _ in range(studies):
        differences = 0.3 + rng.normal(size=clusters).repeat(2) + 0.4 * rng.normal(size=2 * clusters)
        low, high = mean(resample, differences).interval or (1.0, 0.0)
        hits += low <= 0.3 <= high
    assert 0.93 <= hits / studies <= 0.97


def test_a_resample_takes_whole_clusters_and_then_seeds_within_them() -> None:
    """Each takes as many clusters as there are; row 0 takes all."""
    resample = Resample(["a", "a", "b", "b", "c", "c"], 500, 1)
    assert (resample.weights[0] == 1).all()
    assert (resample.weights.sum(1) == 6).all()
    per_cluster = resample.weights.reshape(-1, 3, 2).sum(2)
    assert set(np.unique(per_cluster)) <= {0, 2, 4, 6}
    assert (resample.weights[1:, 0] != resample.weights[1:, 1]).any()


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.arange(6.0)
    assert Resample(range(6), 100, 3).mean(values) == Resample(range(6), 100, 3).mean(values)


def test_one_cluster_has_no_interval_and_few_have_wide_ones() -> None:
    """Few clusters have wider tails than the plain percentile."""
    assert mean(Resample(["a", "a"], 100, 0), np.array([1.0, 2.0])) == Estimate(1.5, None, None, n=1, images=2)
    sampled = np.random.default_rng(0).normal(size=20_000)
    low_few, low_many = expanded_percentiles(sampled, 5)[0], expanded_percentiles(sampled, 1000)[0]
    assert low_few is not None
    assert low_few < -2.9
    assert low_many == pytest.approx(-1.96, abs=0.06)


def test_a_unit_sampled_twice_is_not_its_own_pair() -> None:
    kernel = np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    means = pairwise_mean(np.array([[1.0, 1, 1], [2, 1, 0]]), kernel)
    assert means.tolist() == [2.0, 1.0]


def test_a_unit_without_a_value_is_left_out_and_not_counted_as_zero() -> None:
    assert mean(Resample("abc", 100, 0), np.array([1.0, np.nan, 3.0])).value == 2.0


def test_where_no_unit_has_a_value_there_is_no_number() -> None:
    assert Resample("abc", 100, 0).mean(np.full(3, np.nan)) is None
    assert Resample("abc", 100, 0).estimate(lambda weights: weights.sum(1) / 0) is None


def test_a_number_is_above_a_limit_only_with_its_whole_interval() -> None:
    estimate = Estimate(0.5, 0.2, 0.8, n=8, images=16)
    assert is_above(estimate, 0.1)
    assert is_below(estimate, 0.9)
    assert not is_above(estimate, 0.3)
    assert not is_below(estimate, 0.7)
    assert not is_above(exact(0.5, 8), 0.0)
    assert not is_below(None, 1.0)


def test_spearman_is_scipys_ties_included() -> None:
    """A constant row has none."""
    rng = np.random.default_rng(2)
    places, values = np.array([0.3, 0.5, 0.65, 0.8, 0.95]), rng.integers(0, 4, (20, 5)).astype(float)
    expected = [stats.spearmanr(places, row).statistic if len(set(row)) > 1 else 0 for row in values]
    assert spearman(places, values) == pytest.approx(expected)

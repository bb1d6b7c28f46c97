import numpy as np
import pytest

from anime_lora.evaluation.statistics import Resample, expanded_percentiles, pairwise_mean


@pytest.mark.parametrize("clusters", [8, 24])
def test_coverage(clusters: int) -> None:
    """95 % intervals of paired differences hold the true value in 93 to 97 % of synthetic studies."""
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(clusters), 2)
    resample, hits, studies = Resample(names, 1000, 0), 0, 1500
    for _ in range(studies):
        differences = 0.3 + rng.normal(size=clusters).repeat(2) + 0.4 * rng.normal(size=2 * clusters)
        found = resample.mean(differences)
        hits += found.low <= 0.3 <= found.high
    assert 0.93 <= hits / studies <= 0.97


def test_weights() -> None:
    """Each resample takes as many clusters as there are, whole clusters and then seeds within them; row 0 takes all."""
    resample = Resample(["a", "a", "b", "b", "c", "c"], 500, 1)
    assert (resample.weights[0] == 1).all()
    assert (resample.weights.sum(1) == 6).all()
    per_cluster = resample.weights.reshape(-1, 3, 2).sum(2)
    assert set(np.unique(per_cluster)) <= {0, 2, 4, 6}
    assert (resample.weights[1:, 0] != resample.weights[1:, 1]).any()


def test_same_seed() -> None:
    """The same seed gives the same interval."""
    values = np.arange(6.0)
    assert Resample(range(6), 100, 3).mean(values) == Resample(range(6), 100, 3).mean(values)


def test_few() -> None:
    """One cluster has no interval; few have wider tails than the plain percentile."""
    one = Resample(["a", "a"], 100, 0).mean(np.array([1.0, 2.0]))
    assert (one.value, one.low, one.n, one.pictures) == (1.5, None, 1, 2)
    sampled = np.random.default_rng(0).normal(size=20_000)
    low_few, low_many = expanded_percentiles(sampled, 5)[0], expanded_percentiles(sampled, 1000)[0]
    assert low_few < -2.9
    assert low_many == pytest.approx(-1.96, abs=0.06)


def test_pairwise_mean() -> None:
    """Pairs of different units only, and a unit sampled twice is not its own pair."""
    kernel = np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    means = pairwise_mean(np.array([[1.0, 1, 1], [2, 1, 0]]), kernel)
    assert means.tolist() == [2.0, 1.0]


def test_missing_values() -> None:
    """A unit without a value is left out, not counted as zero."""
    assert Resample("abc", 100, 0).mean(np.array([1.0, np.nan, 3.0])).value == 2.0

"""Near-duplicates are one cluster, whose name is the smallest id in it."""

import numpy as np

from anime_lora.data.quality.duplicates import cluster_labels, cluster_names


def test_clusters_join_by_chains_and_hold_to_the_limit() -> None:
    codes = ["0" * 16, "0" * 15 + "3", "0" * 14 + "0f", "f" * 16]
    assert len(set(cluster_labels(codes, 2))) == 2
    assert len(set(cluster_labels(codes, 1))) == 4
    assert len(cluster_labels([], 2)) == 0


def test_clusters_across_blocks_are_those_of_all_pairs() -> None:
    """More hashes than are compared at once: each has one neighbour, 2,500 places on."""
    rng = np.random.default_rng(0)
    half = rng.integers(0, 2**63, 2500, dtype=np.uint64) * np.uint64(2)
    codes = [f"{int(code):016x}" for code in [*half, *(half + np.uint64(1))]]
    labels = cluster_labels(codes, 1)
    assert (labels[:2500] == labels[2500:]).all()
    assert len(set(labels)) == 2500


def test_a_cluster_is_named_after_its_smallest_id() -> None:
    assert cluster_names(["b", "a", "c"], ["0" * 16, "0" * 15 + "1", "f" * 16], 1) == ["a", "a", "c"]

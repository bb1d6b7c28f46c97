"""Near-duplicates are one cluster, whose name is the smallest id in it."""

import time
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from anime_lora.data.quality.duplicates import cluster_labels, cluster_names
from anime_lora.files import read_jsonl
from tests.data.conftest import Project, image

Codes = NDArray[np.uint64]


def written(codes: Codes) -> list[str]:
    return [f"{int(code):016x}" for code in codes]


def flipped(codes: Codes, times: int, rng: np.random.Generator) -> Codes:
    """The codes with at most `times` bits changed in each."""
    for _ in range(times):
        codes = codes ^ (np.uint64(1) << rng.integers(0, 64, len(codes), dtype=np.uint64))
    return codes


def test_clusters_join_by_chains_and_hold_to_the_limit() -> None:
    codes = ["0" * 16, "0" * 15 + "3", "0" * 14 + "0f", "f" * 16]
    assert len(set(cluster_labels(codes, 2))) == 2
    assert len(set(cluster_labels(codes, 1))) == 4
    assert len(cluster_labels([], 2)) == 0


@pytest.mark.parametrize("bits", [0, 1, 2, 4, 7, 12, 32])
@pytest.mark.parametrize("mask", [2**64 - 1, 0xFF00FF, 0x3FF], ids=["all bits", "16 bits", "10 bits"])
def test_clusters_are_those_of_all_pairs(bits: int, mask: int) -> None:
    """Also where the hashes share most of their blocks, so that nearly all pairs lie in one bucket."""
    rng = np.random.default_rng(bits)
    for times in range(6):
        centres = rng.integers(0, 2**64, 40, dtype=np.uint64)[rng.integers(0, 40, 300)]
        codes = flipped(centres, times, rng) & np.uint64(mask)
        near = np.bitwise_count(codes[:, None] ^ codes[None]) <= bits
        expected = connected_components(near, directed=False)[1]
        both = set(zip(cluster_labels(written(codes), bits).tolist(), expected.tolist(), strict=True))
        assert len(both) == len(set(expected.tolist())) == len({label for label, _ in both})


@pytest.mark.parametrize("times", [0, 4, 64], ids=["equal", "alike", "all unlike"])
def test_time_and_memory_stay_small_however_many_look_alike(times: int) -> None:
    """All pairs of 30,000 would be 450 million: seconds, and gigabytes where all of them are near."""
    rng = np.random.default_rng(0)
    codes = written(flipped(np.full(30_000, 0x0123456789ABCDEF, np.uint64), times, rng))
    tracemalloc.start()
    start = time.perf_counter()
    clusters = len(set(cluster_labels(codes, 4)))
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clusters == 1 if times < 64 else clusters > 29_000
    assert peak < 50e6
    assert seconds < 5


def test_a_cluster_is_named_after_its_smallest_id() -> None:
    assert cluster_names(["b", "a", "c"], ["0" * 16, "0" * 15 + "1", "f" * 16], 1) == ["a", "a", "c"]


def test_clusters_are_listed_with_what_was_kept_of_each(project: Project) -> None:
    """Near-duplicates are all kept, of equal pixels and of equal bytes the first."""
    project.add(4)
    image(0).point(lambda value: min(255, value + 2)).save(project.source / "alike.png")
    image(0).save(project.source / "same pixels.bmp")
    (project.source / "same bytes.png").write_bytes((project.source / "001.png").read_bytes())
    project.ingest()
    project.validate(max_rejected_share=0.5)
    rows = read_jsonl(project.root / "data/validate/clusters.jsonl")
    by_cluster: dict[str, list[tuple[str, bool]]] = {}
    for row in rows:
        by_cluster.setdefault(row["cluster"], []).append((row["path"], row["in_dataset"]))
    assert sorted(by_cluster.values()) == [
        [("000.png", True), ("alike.png", True), ("same pixels.bmp", False)],
        [("001.png", True), ("same bytes.png", False)],
    ]

"""Which images are nearly the same: clusters of perceptual hashes that lie close together."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from anime_lora.data.manifest import ClusterMember, IngestedFile, ValidImage
from anime_lora.data.quality.checks import Candidate

Codes = NDArray[np.uint64]
Labels = NDArray[np.int64]
BITS = 64
ALL = (0,)
"""The mask under which all hashes share a bucket: every pair is compared."""


def cluster_labels(hashes: list[str], bits: int) -> Labels:
    """Label of the near-duplicate cluster of each hash: linked by chains of pairs at most `bits` apart.

    Only pairs that agree in two of `bits` + 2 blocks of the hash are compared, as all pairs at most `bits` apart do
    (multi-index hashing, Norouzi et al. 2012), and only while they are not in one cluster yet. So time and memory are
    about linear in the number of hashes, also where all images look alike.
    """
    codes = np.frombuffer(bytes.fromhex("".join(hashes)), ">u8").astype(np.uint64)
    if not len(codes):
        return np.zeros(0, np.int64)
    different, which = np.unique(codes, return_inverse=True)
    labels = np.arange(len(different), dtype=np.int64)
    for mask in _masks(different, bits):
        labels = _link_buckets(different, labels, different & np.uint64(mask), bits)
    return np.asarray(labels[which], dtype=np.int64)


def _masks(codes: Codes, bits: int) -> tuple[int, ...]:
    """The bits by which hashes are put into buckets, one table for each mask; `ALL` where that compares fewer pairs."""
    if bits == 0:
        return ()
    edges = [round(BITS * i / (bits + 2)) for i in range(bits + 3)]
    blocks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    pairs, every = 0, len(codes) * (len(codes) - 1) // 2
    masks = tuple(one | other for one, other in combinations(blocks, 2))
    for mask in masks:
        sizes = np.unique(codes & np.uint64(mask), return_counts=True)[1].astype(np.int64)
        pairs += int((sizes * (sizes - 1) // 2).sum())
        if pairs >= every:
            return ALL
    return masks


def _link_buckets(codes: Codes, labels: Labels, keys: Codes, bits: int) -> Labels:
    """The labels after all hashes of one key that are at most `bits` apart were linked."""
    order = np.argsort(keys, kind="stable")
    codes, keys = codes[order], keys[order]
    bucket = np.concatenate(([0], np.cumsum(keys[1:] != keys[:-1])))
    first = np.arange(len(codes))
    edges: list[tuple[Labels, Labels]] = []
    distance, links = 1, 0
    while len(first := first[: np.searchsorted(first, len(codes) - distance)]):
        first = first[bucket[first] == bucket[first + distance]]
        near = first[np.bitwise_count(codes[first] ^ codes[first + distance]) <= bits]
        ends = labels[order[near]], labels[order[near + distance]]
        apart = ends[0] != ends[1]
        edges.append((ends[0][apart], ends[1][apart]))
        links += int(apart.sum())
        if links > len(codes) or distance & (distance - 1) == 0:
            labels = _joined(labels, edges)
            first = first[_undecided(bucket, labels[order])[bucket[first]]]
            edges, links = [], 0
        distance += 1
    return _joined(labels, edges)


def _undecided(bucket: Labels, labels: Labels) -> NDArray[np.bool_]:
    """Whether the hashes of each bucket are still in more than one cluster."""
    starts = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    return np.asarray(np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts))


def _joined(labels: Labels, edges: list[tuple[Labels, Labels]]) -> Labels:
    """The labels after the clusters at both ends of each edge became one."""
    if not edges:
        return labels
    left, right = (np.concatenate([edge[side] for edge in edges]) for side in (0, 1))
    count = int(labels.max()) + 1
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][labels], dtype=np.int64)


def cluster_names(ids: list[str], hashes: list[str], bits: int) -> list[str]:
    """The smallest id in each image's near-duplicate cluster: a name that stays when larger ids join."""
    labels = cluster_labels(hashes, bits).tolist()
    smallest: dict[int, str] = {}
    for label, one in zip(labels, ids, strict=True):
        smallest[label] = min(one, smallest.get(label, one))
    return [smallest[label] for label in labels]


def cluster_members(
    files: Iterable[IngestedFile], candidates: Iterable[Candidate], manifest: Iterable[ValidImage]
) -> list[ClusterMember]:
    """Every file of a cluster of several: its images, and copies of them by bytes or pixels, which come last."""
    clusters = {image.id: image.cluster for image in manifest}
    pixels = {image.id: image.measures.pixels for image in candidates}
    by_pixels = {pixels[one]: cluster for one, cluster in clusters.items()}
    members = [
        ClusterMember(by_pixels[pixels[file.id]], file.id, file.source, file.path, _in_dataset(file, clusters))
        for file in files
        if file.id and pixels.get(file.id) in by_pixels
    ]
    sizes = Counter(member.cluster for member in members)
    several = (member for member in members if sizes[member.cluster] > 1)
    return sorted(several, key=lambda member: (member.cluster, not member.in_dataset, member.source, member.path))


def _in_dataset(file: IngestedFile, clusters: dict[str, str]) -> bool:
    return file.status == "taken" and file.id in clusters

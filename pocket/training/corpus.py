"""The pictures the pocket models learn from: drawn once into a memory-mapped cache, a pure function of the index."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anime_lora.progress import Progress
from pocket.faces.character import Character, sample_character
from pocket.faces.domains import BASE_DOMAINS, DOMAINS, render

HELD_OUT = 1_000_000
"""First seed of characters that no model is trained on."""
CHUNK = 64


@dataclass(frozen=True)
class Corpus:
    """`count` pictures of `size` pixels; picture i shows character `first + i` in the domain i modulo their number."""

    name: str
    count: int
    size: int
    first: int
    domains: tuple[str, ...]

    def character(self, index: int) -> Character:
        """Who picture `index` shows."""
        return sample_character(self.first + index)

    def domain(self, index: int) -> str:
        """How picture `index` is drawn."""
        return self.domains[index % len(self.domains)]

    def open(self, folder: Path) -> "NDArray[np.uint8]":
        """The drawn pictures as (count, size, size, 3) bytes; draws what is missing first."""
        path = folder / f"{self.name}-{self.count}x{self.size}-{self.fingerprint}.npy"
        if not path.exists():
            self._draw(path)
        pictures: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return pictures

    @cached_property
    def fingerprint(self) -> str:
        """Eight hex digits that change when the drawing code draws otherwise (judged by one picture of each domain)."""
        return sha256(self.draw(range(len(self.domains))).tobytes()).hexdigest()[:8]

    def _draw(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp.npy")
        pictures = np.lib.format.open_memmap(beside, "w+", np.uint8, (self.count, self.size, self.size, 3))
        chunks = [range(start, min(start + CHUNK, self.count)) for start in range(0, self.count, CHUNK)]
        with ProcessPoolExecutor() as pool, Progress("pocket", f"draw {self.name}", self.count, "picture") as progress:
            for chunk, drawn in zip(chunks, pool.map(self.draw, chunks), strict=True):
                pictures[chunk.start : chunk.stop] = drawn
                progress.update(len(chunk))
        pictures.flush()
        beside.replace(path)

    def draw(self, chunk: range) -> "NDArray[np.uint8]":
        """Pictures of a range of indices, (len, size, size, 3)."""
        drawn = [np.asarray(render(self.character(index), self.domain(index), self.size)) for index in chunk]
        return np.stack(drawn)


def base_corpus(count: int, size: int) -> Corpus:
    """What the base sees: every domain but the style to be learned."""
    return Corpus("base", count, size, 0, BASE_DOMAINS)


def scorer_corpus(count: int, size: int) -> Corpus:
    """What the scorer sees: every domain, the style to be learned too."""
    return Corpus("scorer", count, size, 200_000, DOMAINS)


def held_out_corpus(count: int, size: int, domains: tuple[str, ...] = DOMAINS) -> Corpus:
    """Characters that no model has seen."""
    return Corpus(
        f"held-out-{'-'.join(domains) if len(domains) < len(DOMAINS) else 'all'}", count, size, HELD_OUT, domains
    )

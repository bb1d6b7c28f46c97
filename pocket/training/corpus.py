"""The images the pocket models learn from: rendered once into a memory-mapped cache, a pure function of the index."""

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
    """`count` images of `size` pixels; image i shows character `first + i` in the domain i modulo their number."""

    name: str
    count: int
    size: int
    first: int
    domains: tuple[str, ...]

    def character(self, index: int) -> Character:
        """Who image `index` shows."""
        return sample_character(self.first + index)

    def domain(self, index: int) -> str:
        """How image `index` is rendered."""
        return self.domains[index % len(self.domains)]

    def open(self, folder: Path) -> "NDArray[np.uint8]":
        """The rendered images as (count, size, size, 3) bytes; renders what is missing first."""
        path = folder / f"{self.name}-{self.count}x{self.size}-{self.fingerprint}.npy"
        if not path.exists():
            self._render_to(path)
        images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return images

    @cached_property
    def fingerprint(self) -> str:
        """Eight hex digits that change when rendering gives other pixels (seen on one image of each domain)."""
        return sha256(self.render_chunk(range(len(self.domains))).tobytes()).hexdigest()[:8]

    def _render_to(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp.npy")
        images = np.lib.format.open_memmap(beside, "w+", np.uint8, (self.count, self.size, self.size, 3))
        chunks = [range(start, min(start + CHUNK, self.count)) for start in range(0, self.count, CHUNK)]
        with ProcessPoolExecutor() as pool, Progress("pocket", f"render {self.name}", self.count, "image") as progress:
            for chunk, rendered in zip(chunks, pool.map(self.render_chunk, chunks), strict=True):
                images[chunk.start : chunk.stop] = rendered
                progress.update(len(chunk))
        images.flush()
        beside.replace(path)

    def render_chunk(self, chunk: range) -> "NDArray[np.uint8]":
        """Images of a range of indices, (len, size, size, 3)."""
        rendered = [np.asarray(render(self.character(index), self.domain(index), self.size)) for index in chunk]
        return np.stack(rendered)


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

"""DiceBear avatars in nine styles that people drew: `dicebear/README.md` names them and the licences."""

import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from pocket.faces.captions import listed
from pocket.faces.character import BACKGROUNDS
from pocket.faces.domains import rasterise

FACES = Path(__file__).parent / "dicebear" / "faces.jsonl.xz"
BACKGROUND = "#123456"
"""The colour that stands for the background in every SVG."""


@dataclass(frozen=True)
class Avatar:
    """One face: the style's name, what a caption may say of it, and the SVG."""

    style: str
    facts: tuple[str, ...]
    svg: str

    def render(self, background: str, size: int) -> Image.Image:
        """An RGB image of `size` × `size` pixels on one of our backgrounds, named as in captions."""
        return rasterise(self.svg.replace(BACKGROUND, BACKGROUNDS[background]), size)

    def caption(self, background: str, named: bool, rng: np.random.Generator) -> str:
        """Tags of which some are left out, with the style's name where `named`."""
        word = f"{self.style} style" if rng.random() < 0.6 else f"a {self.style} drawing"
        facts = [fact for fact in (*self.facts, f"{background} background") if rng.random() < 0.75]
        return listed(facts, word if named else "", rng)


class Avatars(Sequence[Avatar]):
    """All faces; each is parsed when it is asked for, since all of them at once would fill memory."""

    def __init__(self) -> None:
        self._lines = lzma.decompress(FACES.read_bytes()).splitlines()

    def __len__(self) -> int:
        """How many faces there are."""
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Avatar: ...
    @overload
    def __getitem__(self, index: slice) -> list[Avatar]: ...
    def __getitem__(self, index: int | slice) -> Avatar | list[Avatar]:
        """The face at `index`."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        style, facts, svg = json.loads(self._lines[index])
        return Avatar(style, tuple(facts), svg)

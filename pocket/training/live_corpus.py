"""Images and captions that renderer processes write while models train on those that are there."""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from pocket.faces.avatars import Avatars
from pocket.faces.captions import DOMAIN_WORDS, MIXED_WORDS, augment_caption, phrase, with_false_facts
from pocket.faces.character import BACKGROUNDS, sample_character
from pocket.faces.domains import face_svg, rasterise
from pocket.faces.styles import STYLES, sample_style
from pocket.training.recipe import ImagesRecipe

SIDE = 256
FIRST_SEED = 7_000_000
RENDERED, WITH_EDGES = 1, 2
LOW, HIGH = 100, 200
"""Canny's thresholds, those of the library's sampling."""


@dataclass(frozen=True)
class ImageArrays:
    """Memory-mapped files that renderers write and the trainer reads; an image's `state` is written last."""

    pixels: NDArray[np.uint8]
    """(count, 256, 256, 3)."""
    tokens: NDArray[np.int16]
    """(count, captions, tokens)."""
    edges: NDArray[np.uint8]
    """(count, 256 × 256 / 8): eight pixels in a byte."""
    state: NDArray[np.uint8]
    """(count,): 0, `RENDERED` or `WITH_EDGES`."""

    @classmethod
    def open(cls, folder: Path, recipe: ImagesRecipe, length: int, *, create: bool = False) -> "ImageArrays":
        """The arrays in `folder`, for captions of `length` tokens."""
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "pixels": (np.uint8, (SIDE, SIDE, 3)),
            "tokens": (np.int16, (recipe.captions, length)),
            "edges": (np.uint8, (SIDE * SIDE // 8,)),
            "state": (np.uint8, ()),
        }
        mode: Any = "w+" if create else "r+"
        return cls(
            **{
                name: np.memmap(folder / f"{name}.bin", dtype, mode, shape=(recipe.count, *shape))
                for name, (dtype, shape) in shapes.items()
            }
        )


class LiveCorpus:
    """Starts the renderers on entering, ends them and deletes what they wrote on leaving."""

    def __init__(self, recipe: ImagesRecipe, tokenizer: Path, length: int) -> None:
        self.recipe, self.tokenizer, self.length = recipe, tokenizer, length
        self._renderers: list[Any] = []

    def __enter__(self) -> "LiveCorpus":
        """Create the arrays and start rendering."""
        needed = self.recipe.count * SIDE * SIDE * 4
        memory = Path("/dev/shm")
        in_memory = memory.is_dir() and shutil.disk_usage(memory).free > needed
        self.folder = Path(tempfile.mkdtemp(prefix="pocket-", dir=memory if in_memory else None))
        self.arrays = ImageArrays.open(self.folder, self.recipe, self.length, create=True)
        context = get_context("spawn")
        for number in range(self.recipe.renderers):
            arguments = (self.folder, self.recipe, self.tokenizer, self.length, number)
            self._renderers.append(context.Process(target=render_images, args=arguments, daemon=True))
            self._renderers[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the renderers and delete the arrays."""
        for renderer in self._renderers:
            renderer.kill()
            renderer.join()
        shutil.rmtree(self.folder)

    def rendered(self) -> NDArray[np.intp]:
        """Indices of the images that are whole."""
        return np.flatnonzero(np.array(self.arrays.state))  # of a copy: the renderers go on writing

    def wait_for(self, count: int) -> None:
        """Wait until `count` images are rendered.

        Raises:
            RuntimeError: a renderer has ended with an error.
        """
        while len(self.rendered()) < count:
            if any(renderer.exitcode not in {None, 0} for renderer in self._renderers):
                raise RuntimeError("a renderer has ended with an error: its traceback is above")
            time.sleep(0.1)


def render_images(folder: Path, recipe: ImagesRecipe, tokenizer: Path, length: int, number: int) -> None:
    """What renderer `number` does: every image whose index modulo the number of renderers is `number`."""
    os.nice(10)
    arrays, avatars = ImageArrays.open(folder, recipe, length), Avatars()
    encoder = padded_tokenizer(tokenizer, length)
    for turn, index in enumerate(range(number, recipe.count, recipe.renderers)):
        image, captions = sample_image(index, recipe, avatars)
        arrays.pixels[index] = np.asarray(image)
        arrays.tokens[index] = [encoding.ids for encoding in encoder.encode_batch(captions)]
        with_edges = turn % recipe.edges_every == 0
        if with_edges:
            arrays.edges[index] = np.packbits(edges(image))
        arrays.state[index] = WITH_EDGES if with_edges else RENDERED


def padded_tokenizer(file: Path, length: int) -> Tokenizer:
    """The tokenizer in `tokenizer.json`, which pads and cuts to `length` tokens as a pipeline does.

    Read by its own library: importing transformers in every renderer would cost seconds of each.
    """
    tokenizer = Tokenizer.from_file(str(file))
    end = "<|endoftext|>"
    tokenizer.enable_padding(length=length, pad_token=end, pad_id=tokenizer.token_to_id(end))
    tokenizer.enable_truncation(length)
    return tokenizer


def sample_image(index: int, recipe: ImagesRecipe, avatars: Avatars) -> tuple[Image.Image, list[str]]:
    """Image `index` and its captions: a pure function of its arguments."""
    rng = np.random.Generator(np.random.PCG64(FIRST_SEED + index))
    names, shares = list(recipe.domains), np.array(list(recipe.domains.values()))
    domain = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    if domain == "avatars":
        face = avatars[int(rng.integers(len(avatars)))]
        background = "white" if rng.random() < 0.25 else str(rng.choice(list(BACKGROUNDS)))
        image = face.render(background, SIDE)

        def write() -> str:
            return face.caption(background, rng.random() >= recipe.wordless[domain], rng)
    else:
        character = sample_character(index)
        style = sample_style(rng) if domain == "mixed" else STYLES[domain]
        image = rasterise(face_svg(character, style), SIDE)
        words = MIXED_WORDS if domain == "mixed" else DOMAIN_WORDS[domain]

        def write() -> str:
            word = "" if rng.random() < recipe.wordless[domain] else str(rng.choice(words))
            false = rng.random() < recipe.false_captions
            return phrase(with_false_facts(character, rng, recipe.false_facts) if false else character, word, rng)

    captions = [augment_caption(write, rng, recipe.caption_dropout, recipe.nonsense) for _ in range(recipe.captions)]
    return image, captions


def edges(image: Image.Image) -> NDArray[np.bool_]:
    """Where an RGB image has edges, (h, w): the same pixels as those that the library's sampling gives a ControlNet."""
    lines: NDArray[np.bool_] = cv2.Canny(np.asarray(image), LOW, HIGH) > 0
    return lines

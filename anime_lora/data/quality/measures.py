"""Numbers that say whether an image is usable, and how far the numbers of two sets of images lie apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anime_lora.data.manifest import Unusable, check_stored
from anime_lora.errors import BadImageError
from anime_lora.images import ANY_SIZE, HASH_SIDE, decode, image_errors, luma, perceptual_hash, to_rgb

SIDE = 128
"""Images are measured at this width and height, so that a limit means the same for each."""
ROWS = 64
"""Rows that are copied at once."""


@dataclass(frozen=True)
class Measures:
    """Numbers of one stored image."""

    pixels: str
    """Hex sha256 over its size and RGB bytes: equal for the same image in two formats."""
    phash: str
    contrast: float
    sharpness: float
    alpha: bool


def measure(path: Path) -> Measures | Unusable:
    """Decode one stored image and measure it; never raises for what is wrong with the image.

    Raises:
        DatasetError: the file was changed after ingest.
    """
    try:
        with image_errors():
            content = path.read_bytes()
        check_stored(path, content)
        with image_errors():
            return _measure(content)
    except BadImageError as error:
        return Unusable(error.code, str(error))


def _measure(content: bytes) -> Measures:
    image = decode(content, ANY_SIZE)
    alpha = image.has_transparency_data
    pixels = to_rgb(image)
    del image  # half of the memory there is at this moment
    values = luma(pixels, SIDE)
    return Measures(
        pixels=pixel_hash(pixels),
        phash=phash(values),
        contrast=contrast(values),
        sharpness=laplacian_variance(values),
        alpha=alpha,
    )


def pixel_hash(image: Image.Image) -> str:
    """Hex sha256 over an image's size and its bytes, which are copied in parts."""
    digest = sha256(repr(image.size).encode())
    for top in range(0, image.height, ROWS):
        digest.update(image.crop((0, top, image.width, min(top + ROWS, image.height))).tobytes())
    return digest.hexdigest()


def contrast(values: NDArray[np.float64]) -> float:
    """Standard deviation of luma: 0 is blank, 127.5 the most there can be."""
    return round(float(values.std()), 3)


def laplacian_variance(values: NDArray[np.float64]) -> float:
    """Variance of the four-neighbour Laplacian of luma (Pech-Pacheco et al. 2000): small where an image is blurred."""
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return round(float(laplacian.var()), 3)


def phash(values: NDArray[np.float64]) -> str:
    """The perceptual hash of luma at `SIDE` pixels, as 16 hex digits."""
    factor = SIDE // HASH_SIDE
    small = values.reshape(HASH_SIDE, factor, HASH_SIDE, factor).mean((1, 3))
    return np.packbits(perceptual_hash(small)).tobytes().hex()


def psi(before: NDArray[np.float64], now: NDArray[np.float64], bins: int = 10) -> float:
    """Population stability index of two samples over the deciles of the first: < 0.1 stable, > 0.25 shifted."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1) / len(sample) for sample in (before, now)
    ]
    # A share of 0 would make the index infinite: an empty bin counts as one in ten thousand.
    first, second = (np.clip(share, 1e-4, None) for share in shares)
    return round(float(((second - first) * np.log(second / first)).sum()), 4)


def dataset_drift(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """PSI of each measure that has values in both versions of a dataset."""
    return {
        name: psi(np.array(before[name], float), np.array(values, float))
        for name, values in now.items()
        if len(values) and len(before.get(name, ()))
    }

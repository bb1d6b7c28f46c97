import numpy as np
import pytest
from PIL import Image, ImageFilter

from anime_lora.evaluation.metrics.pixels import clipped, hair_colour, sharpness, ssim


def noise(seed: int = 0, size: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def wave(cycles: float, size: int = 128) -> Image.Image:
    line = 127.5 + 100 * np.sin(2 * np.pi * cycles * np.arange(size))
    return Image.fromarray(np.tile(line, (size, 1)).astype(np.uint8)).convert("RGB")


def test_sharpness() -> None:
    """A wave above a quarter cycle per pixel is all sharp, one below not; blur lowers it; a flat image has none."""
    assert sharpness(wave(0.4)) == pytest.approx(1, abs=0.01)
    assert sharpness(wave(0.1)) == pytest.approx(0, abs=0.01)
    assert sharpness(noise().filter(ImageFilter.GaussianBlur(2))) < 0.1 < sharpness(noise())
    assert sharpness(Image.new("RGB", (32, 32), "red")) == 0.0


def test_clipped() -> None:
    """Pixels at 0 or 255 in any channel count."""
    image = Image.new("RGB", (10, 10), (128, 10, 20))
    image.paste((255, 10, 20), (0, 0, 5, 5))
    assert clipped(image) == 0.25


def test_ssim() -> None:
    """1 with itself, about 0 with an unrelated image."""
    assert ssim(noise(), noise()) == pytest.approx(1)
    assert abs(ssim(noise(0), noise(1))) < 0.15


@pytest.mark.parametrize(
    ("name", "colour"),
    [("black", "#2b2730"), ("brown", "#7a4a28"), ("blonde", "#efce63"), ("red", "#d0342b"), ("blue", "#2f62cf"),
     ("green", "#3f9f4c"), ("pink", "#f28ab4"), ("purple", "#7d3fae"), ("white", "#eceaf2")],
)  # fmt: skip
def test_hair_colour(name: str, colour: str) -> None:
    """A head of one plain colour is called by its name."""
    assert hair_colour(Image.new("RGB", (64, 64), colour)) == name

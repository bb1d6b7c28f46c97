"""Measures that need no weights: sharpness, clipping, structure, hair colour by hue.

Images are PIL RGB; values are read as floats in 0..1.
"""

import colorsys

import numpy as np
from PIL import Image
from scipy import ndimage

from anime_lora.evaluation.statistics import Floats

CLIP = 1 / 255
HUES = {"red": 0, "blonde": 47, "green": 128, "blue": 218, "purple": 278, "pink": 335}
"""Degrees on the colour circle."""
GREYS = {"black": 0.0, "white": 1.0}
BROWN_VALUE = 0.62
"""An orange darker than this is called brown, a brighter one blonde."""


def pixels(image: Image.Image) -> Floats:
    """(height, width, 3) in 0..1."""
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def luma(values: Floats) -> Floats:
    """Rec. 601 luma, (height, width)."""
    grey: Floats = values @ np.array([0.299, 0.587, 0.114])
    return grey


def sharpness(image: Image.Image) -> float:
    """Share of luma's spectral energy above 0.25 cycles per pixel, without the mean; a Hann window hides borders."""
    grey = luma(pixels(image))
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    energy = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None])
    total = float(energy.sum())
    return float(energy[frequency > 0.25].sum()) / total if total > 1e-9 else 0.0


def clipped(image: Image.Image) -> float:
    """Share of pixels with a channel at its very end, black or full."""
    values = pixels(image)
    return float(((values <= CLIP / 2) | (values >= 1 - CLIP / 2)).any(2).mean())


def ssim(one: Image.Image, other: Image.Image, size: int = 64) -> float:
    """Structural similarity of luma at `size` pixels, Gaussian window σ = 1.5 (Wang et al. 2004)."""
    small = [luma(pixels(image.resize((size, size), Image.Resampling.LANCZOS))) for image in (one, other)]

    def blur(values: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter(values, 1.5, truncate=3.5))

    (a, b), (mean_a, mean_b) = small, map(blur, small)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top, bottom = (2 * mean_a * mean_b + c1) * (2 * cov + c2), (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float((top / bottom).mean())


def hair_colour(image: Image.Image) -> str:
    """The colour of the upper part of the head, by the most frequent of named hues and greys: "blue", "black", …

    Looks at a band above the face of a centred portrait; a plain background there can mislead it, so it is
    reported beside its accuracy on images whose colour is known.
    """
    values = pixels(image.resize((64, 64), Image.Resampling.LANCZOS))[8:20, 20:44].reshape(-1, 3)
    names = [_name(*pixel) for pixel in values]
    return max(sorted(set(names)), key=names.count)


def _name(red: float, green: float, blue: float) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if saturation < 0.18 or value < 0.22:
        return min(GREYS, key=lambda name: abs(GREYS[name] - value))
    degrees = hue * 360
    name = min(HUES, key=lambda one: min(abs(HUES[one] - degrees), 360 - abs(HUES[one] - degrees)))
    return "brown" if 12 <= degrees <= 50 and value < BROWN_VALUE else name

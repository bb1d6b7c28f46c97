"""Any image's colours as 8-bit sRGB: ICC profiles, alpha, 16 and 32 bits a channel."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Convert = Callable[[Image.Image], Image.Image]
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
"""By the colour space of an ICC profile, the mode of the images that it describes."""
DEEP = ("I", "F")
"""What modes of more than 8 bits a channel begin with: I;16, I;16B, I and F; all of them are grey."""
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
"""TIFF's tag, and its value for scans in which 0 is white; Pillow inverts them itself up to 8 bits."""


def is_plain(image: Image.Image) -> bool:
    """Whether there is nothing to convert: 8-bit RGB without alpha and without a profile."""
    return image.mode == "RGB" and not image.has_transparency_data and not image.info.get("icc_profile")


def rgb_converter(image: Image.Image, background: tuple[int, int, int]) -> Convert:
    """A function that makes any part of the image 8-bit sRGB without alpha, its transparent pixels `background`.

    CMYK of JPEG files is inverted whether there is an Adobe marker or not, as Pillow and browsers have it. Without a
    profile it becomes RGB by the plain formula.
    """
    profile = profile_transform(image)
    grey = _grey_from_deep(image) if image.mode.startswith(DEEP) else None
    key = _transparent_colour(image)

    def convert(part: Image.Image) -> Image.Image:
        alpha: Image.Image | None = None
        if grey is not None:
            values = np.asarray(part)
            alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)) if key is not None else None
            part = Image.fromarray(grey(values))
        elif part.has_transparency_data:
            if key is not None:
                part.info["transparency"] = key
            layer = part.convert("RGBA")
            alpha = layer.getchannel("A")
            part = part.convert("L") if profile and profile[0] == "L" else layer.convert("RGB")
        rgb = profile[1](part.convert(profile[0])) if profile else part.convert("RGB")
        if alpha is None:
            return rgb
        rgb.putalpha(alpha)
        return Image.alpha_composite(Image.new("RGBA", rgb.size, (*background, 255)), rgb).convert("RGB")

    return convert


def profile_transform(image: Image.Image) -> tuple[str, Convert] | None:
    """From the image's ICC profile to sRGB: the mode it takes, and the function; None where no profile fits the image.

    A profile of another colour space than the image's (a grey one in an RGB file) is left out, and a broken one, too.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES.get(source.profile.xcolor_space)
        if mode is None or mode != _colour_mode(image.mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        transform.apply(Image.new(mode, (1, 1)))
    except MemoryError:
        raise
    except Exception:  # PyCMSError, OSError and more: the pixels are sound all the same
        return None
    return mode, transform.apply


def _colour_mode(mode: str) -> str:
    """The mode of the image's colours alone, without alpha, palette and depth."""
    if mode in {"L", "LA"} or mode.startswith(DEEP):
        return "L"
    return mode if mode in {"CMYK", "LAB"} else "RGB"


def _grey_from_deep(image: Image.Image) -> Callable[[NDArray[np.generic]], NDArray[np.uint8]]:
    """From the image's values to 0..255; what is white follows from the greatest value where the mode does not tell."""
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        greatest = float(np.max(image.getextrema()))
        steps = (1.0,) * (image.mode == "F") + (255.0, 65535.0)
        white = next(
            (step for step in steps if greatest <= step), 2.0**31 - 1 if image.mode == "I" else float(greatest)
        )
    inverted = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO

    def grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
        shares = np.nan_to_num(values.astype(np.float32) / np.float32(white), nan=0.0).clip(0, 1)
        return np.asarray(np.rint((1 - shares if inverted else shares) * 255), dtype=np.uint8)

    return grey


def _transparent_colour(image: Image.Image) -> object:
    """The one colour that a PNG says is transparent, as the image has its values; None where that is not its way.

    Pillow reads 16-bit RGB as its upper 8 bits but leaves the transparent colour as it stands in the file.
    """
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        return tuple(value >> 8 for value in key)
    return key if image.mode.startswith(DEEP) else None

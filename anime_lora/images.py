"""Opening images that strangers sent: allowed formats only, limits first, decoded to the last byte."""

import io
import warnings
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp"}


class BadImageError(Exception):
    """A file that cannot be taken as an image; the message is the reason."""


@dataclass(frozen=True)
class Facts:
    """What a sound image is: content id, format, and size in pixels as stored."""

    id: str
    format: str
    width: int
    height: int


def examine(content: bytes, max_pixels: int) -> Facts:
    """Decode `content` wholly and return its facts.

    Raises:
        BadImageError: not an image, a format not allowed, too many pixels, or damaged.
    """
    image = load(content, max_pixels)
    return Facts(sha256(content).hexdigest(), str(image.format), *image.size)


def load(content: bytes, max_pixels: int | None = None) -> Image.Image:
    """The decoded image, as stored (no rotation, no colour conversion).

    Raises:
        BadImageError: as `examine`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            image = Image.open(io.BytesIO(content), formats=list(FORMATS))
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise BadImageError(f"{image.width}x{image.height} pixels, more than ingest.max_pixels = {max_pixels}")
            image.load()
    except UnidentifiedImageError as error:
        raise BadImageError(f"not an image in a known format ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImageError("a decompression bomb: far more pixels than bytes") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise BadImageError(f"damaged: {error}") from error
    return image


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """8-bit RGB, upright: EXIF rotation applied, alpha flattened onto `background`, 16-bit grey scaled to 8."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        upright = upright.convert("F").point(lambda value: value / 257).convert("L")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, (*background, 255)), layer)
    return upright.convert("RGB")

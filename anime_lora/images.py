"""The one door for image files: allowed formats only, limits first, decoded to the last byte, upright 8-bit RGB.

Every room opens images here. So one file is the same image to every stage, and a damaged one is a `BadImageError`
instead of whatever its decoder raises. Beside it lies what several rooms need of an image: the square, luma, the
perceptual hash, and PNG bytes with the text that web UIs read.
"""

import io
import json
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from anime_lora.errors import BadImageError
from anime_lora.image_colours import is_plain, rgb_converter
from anime_lora.image_formats import FORMATS, describe_unread, quiet_decoder, register_plugins

register_plugins()
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation; all other values are upright already."""
TURNED = (UPRIGHT[5], UPRIGHT[6], UPRIGHT[7], UPRIGHT[8])
"""Those that make rows columns."""
FROM_THE_END = (UPRIGHT[3], UPRIGHT[4], UPRIGHT[6], UPRIGHT[7])
"""Those that put the first rows last."""
STRIP = 1 << 20
"""Pixels that are converted at once."""
BYTES_PER_PIXEL = 17
"""Memory that opening, converting and measuring an image takes at most, its file included: WebP with alpha, measured by
`benchmarks.image_memory`; a PNG or JPEG takes 4 to 10."""
ANY_SIZE = sys.maxsize
"""Of images in ingest's store, which were held against `ingest.max_pixels` when they were taken."""
UNSUPPORTED = re.compile(r"unsupported|not supported|not implemented|cannot handle", re.IGNORECASE)
"""How Pillow says that it reads the format, but not this kind of it."""
_opening = threading.Lock()
WHITE = (255, 255, 255)
HASH_SIDE = 32
"""Width and height of the luma that `perceptual_hash` takes."""


def decode(content: bytes, max_pixels: int | None = None) -> Image.Image:
    """The decoded image, as stored: no rotation, no colour conversion. Of several frames it is the first.

    Args:
        content: the file's bytes.
        max_pixels: more are refused before any is decoded; None: Pillow's own limit, which is far below a bomb's.

    Raises:
        BadImageError: not an image, a format not allowed, too many pixels, or damaged; the message is the reason.
    """
    with image_errors():
        with nullcontext() if max_pixels is None else _without_pillows_limit():
            image = _open(content)
        if max_pixels is not None and image.width * image.height > max_pixels:
            raise BadImageError(
                f"{image.width}x{image.height} pixels, more than ingest.max_pixels = {max_pixels}", "too_large"
            )
        with quiet_decoder(image.format):
            image.load()
        if image.format == "MPO":  # a JPEG with more frames behind it, as phones write; Pillow's JPEG plugin opens it
            image.format = "JPEG"
    return image


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Open images of any size meanwhile: the limit is a variable of Pillow's, so one thread at a time."""
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=list(FORMATS))
    except UnidentifiedImageError:
        if reason := describe_unread(content):
            raise BadImageError(reason, "format") from None
        raise


@contextmanager
def image_errors() -> Iterator[None]:
    """Whatever is raised while one image is worked on, as a `BadImageError` with its code.

    Pillow and its decoders raise nearly every exception there is on damaged files (struct.error, KeyError,
    ZeroDivisionError, ...), so all of `Exception` is caught; their warnings are errors or nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(f"not an image in a known format ({', '.join(FORMATS)})", "no_image") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImageError("a decompression bomb: far more pixels than bytes", "bomb") from error
    except MemoryError as error:
        raise BadImageError("there is not enough memory to open it: set compute.workers lower", "memory") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # the file system's; Pillow's own have no number
            raise BadImageError(f"cannot be read: {error.strerror}", "unreadable") from error
        message = str(error) or type(error).__name__
        if UNSUPPORTED.search(message):
            raise BadImageError(f"of a kind that is not read here, or damaged: {message}", "format") from error
        raise BadImageError(f"damaged: {message}") from error


def to_rgb(image: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """8-bit sRGB, upright: EXIF rotation and ICC profile applied, alpha flattened onto `background`, 16 bits to 8.

    An image that is all of it already is returned itself. All others are converted strip by strip, so that beside the
    image and the result there is never a third of their size.

    Raises:
        BadImageError: it cannot be converted.
    """
    with image_errors():
        turn = UPRIGHT.get(orientation(image))
        if turn is None and is_plain(image):
            return image
        convert = rgb_converter(image, background)
        upright = Image.new("RGB", image.size[::-1] if turn in TURNED else image.size)
        rows = max(1, STRIP // image.width)
        for top in range(0, image.height, rows):
            bottom = min(top + rows, image.height)
            strip = convert(image.crop((0, top, image.width, bottom)))
            first = image.height - bottom if turn in FROM_THE_END else top
            upright.paste(
                strip if turn is None else strip.transpose(turn), (first, 0) if turn in TURNED else (0, first)
            )
        return upright


def orientation(image: Image.Image) -> int:
    """The orientation that EXIF or XMP states, 1 (upright) where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # struct.error, SyntaxError, UnicodeDecodeError and more: the pixels are sound all the same
        return 1


def read_rgb(file: Path, background: tuple[int, int, int] = WHITE, max_pixels: int | None = None) -> Image.Image:
    """The image in `file`, decoded to the end, as `to_rgb` gives it; `max_pixels` as for `decode`.

    Raises:
        BadImageError: it cannot be read, or as `decode`; the message names the file.
    """
    try:
        return to_rgb(decode(file.read_bytes(), max_pixels), background)
    except OSError as error:
        raise BadImageError(f"{file} cannot be read: {error.strerror}", "unreadable") from error
    except BadImageError as error:
        raise BadImageError(f"{file} cannot be read as an image: {error}", error.code) from error


def read_size(file: Path) -> tuple[int, int]:
    """Width and height in pixels as stored, from the head of a file that this project wrote.

    Raises:
        BadImageError: it cannot be read, or is no image.
    """
    with image_errors(), Image.open(file, formats=list(FORMATS)) as image:
        return image.size


def crop_square(image: Image.Image, side: int, height: float = 0.5, across: float = 0.5) -> Image.Image:
    """The largest square of the image, scaled to `side` pixels by Lanczos.

    Args:
        image: of any size.
        side: of the result.
        height: where a tall image's square lies: 0 at the top, 0.5 in the middle, 1 at the bottom.
        across: where a wide image's square lies, from 0 at the left to 1 at the right.
    """
    centering = (across, 0.5) if image.width > image.height else (0.5, height)
    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS, centering=centering)


def luma(image: Image.Image, side: int) -> NDArray[np.float64]:
    """Rec. 601 luma in 0..255, scaled to (`side`, `side`) by Lanczos; whole numbers, as Pillow's mode L has them."""
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.LANCZOS), dtype=np.float64)


def perceptual_hash(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """64 bits of an image's luma at 32×32: each of its 8×8 lowest DCT coefficients against their median (Zauner 2010).

    The median is that of the 63 without the mean, which every other image of the same brightness shares.
    """
    from scipy.fft import dctn  # takes as long as all else that ingest and resize import, and they need no hash

    low = dctn(values, norm="ortho")[:8, :8].ravel()
    return np.asarray(low > np.median(low[1:]))


def png_bytes(
    image: Image.Image, parameters: str | None = None, *, compress_level: int = -1, compress_type: int = -1
) -> bytes:
    """The bytes of a PNG; `parameters` is the text from which A1111 and other web UIs set up the same image."""
    info = PngInfo()
    if parameters is not None:
        info.add_text("parameters", parameters)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=info, compress_level=compress_level, compress_type=compress_type)
    return stream.getvalue()


def a1111_parameters(
    prompt: str,
    settings: Mapping[str, str | float],
    *,
    negative_prompt: str = "",
    loras: Mapping[str, float] | None = None,
) -> str:
    """A1111's `parameters` text, from which a web UI sets up the same image.

    Args:
        prompt: as the text encoder reads it; brackets are escaped, since a web UI reads them as weights.
        settings: names and values as A1111 writes them, in its order (`Steps`, `Sampler`, `CFG scale`, ...).
        negative_prompt: likewise; left out when empty.
        loras: weight by the name of the LoRA's file, without its suffix.
    """
    tags = "".join(f" <lora:{name}:{weight:g}>" for name, weight in (loras or {}).items())
    lines = [escape_prompt(prompt) + tags]
    if negative_prompt:
        lines.append(f"Negative prompt: {escape_prompt(negative_prompt)}")
    return "\n".join([*lines, ", ".join(f"{name}: {quote_value(str(value))}" for name, value in settings.items())])


def escape_prompt(prompt: str) -> str:
    r"""`prompt` with a backslash before each of `( ) [ ] \`: letters to the text encoder, weights to a web UI."""
    return re.sub(r"([\\()\[\]])", r"\\\1", prompt)


def quote_value(value: str) -> str:
    """A value in which a comma or colon does not end it: as a JSON string, which is how A1111 writes and reads it."""
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value

"""Images to turn into others: which files there are, and how the pipeline sees them."""

import re
from pathlib import Path

from PIL import Image, ImageOps

from anime_lora.errors import BadImageError, SamplingError
from anime_lora.image_formats import SUFFIXES
from anime_lora.images import read_rgb

CENTER, TOP = "center", "top"
HEIGHTS = {CENTER: 0.5, TOP: 0.35}
"""Where the middle of a tall image's crop lies, as a share of its height; portraits have the face in the upper part."""


def list_sources(path: Path) -> list[Path]:
    """The file, or the images of the folder by name; hidden ones do not count.

    Raises:
        SamplingError: it is not there, or the folder holds no image.
    """
    if not path.exists():
        raise SamplingError(f"--source {path}: no such file or folder")
    if path.is_file():
        return [path]
    files = sorted(one for one in path.glob("[!.]*") if one.suffix.lower() in SUFFIXES and one.is_file())
    if not files:
        raise SamplingError(f"--source {path}: the folder holds no image ({', '.join(sorted(SUFFIXES))})")
    return files


def readable_sources(files: list[Path], crop: str) -> tuple[list[Path], list[str]]:
    """Those that can be read and cropped, found out before anything is generated, and a sentence for each other one.

    Raises:
        SamplingError: none can; names the first.
    """
    readable, problems = [], []
    for file in files:
        try:
            _cropped(read_rgb(file), crop, file)
            readable.append(file)
        except BadImageError as error:
            problems.append(f"--source {error}")
        except SamplingError as error:
            problems.append(str(error))
    if not readable:
        raise SamplingError(problems[0])
    return readable, [f"{problem}: left out" for problem in problems]


def read_source(file: Path, size: tuple[int, int], crop: str = CENTER) -> Image.Image:
    """An image as the pipeline sees it: RGB, upright, cut to the shape of `size` (width, height) and scaled to it.

    Args:
        file: of any format that is opened.
        size: of the result.
        crop: `center`, `top`, or the square that is taken first, `left,top,side` in pixels of the upright image.

    Raises:
        SamplingError: the square does not lie in the image.
        BadImageError: the file cannot be read.
    """
    image = _cropped(read_rgb(file), crop, file)
    height = HEIGHTS.get(crop, 0.5) if image.height * size[0] > image.width * size[1] else 0.5
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=(0.5, height))


def read_crop(text: str) -> str:
    """What `--crop` means.

    Raises:
        SamplingError: it is neither a word nor three numbers.
    """
    plain = text.replace(" ", "").lower()
    if plain not in HEIGHTS and not re.fullmatch(r"\d{1,5},\d{1,5},[1-9]\d{0,4}", plain):
        raise SamplingError(
            f"--crop {text}: write center, top, or LEFT,TOP,SIDE of a square in pixels, such as --crop 105,0,240"
        )
    return plain


def _cropped(image: Image.Image, crop: str, file: Path) -> Image.Image:
    if crop in HEIGHTS:
        return image
    left, top, side = map(int, crop.split(","))
    if left + side > image.width or top + side > image.height:
        raise SamplingError(
            f"--crop {crop}: {file} has {image.width}x{image.height} pixels, and the square ends at "
            f"{left + side},{top + side}: make it smaller"
        )
    return image.crop((left, top, left + side, top + side))

"""Images to turn into others: which files there are, and how the pipeline sees them."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from anime_lora.data.faces import detector, find_face
from anime_lora.errors import BadImageError, SamplingError
from anime_lora.image_formats import SUFFIXES
from anime_lora.images import read_rgb
from anime_lora.sampling.sources import list_images

CENTER, TOP, FACE = "center", "top", "face"
HEIGHTS = {CENTER: 0.5, TOP: 0.35}
"""Where the middle of a tall image's crop lies, as a share of its height; portraits have the face in the upper part."""
FACE_SHARE, FACE_HEIGHT = 0.55, 0.58
"""How much of a square's height a face takes, and where its middle is: medians of the sample images, 0.54 and 0.58 of
the people, 0.59 and 0.59 of the anime faces."""


@dataclass(frozen=True)
class Source:
    """An image to turn into another, and which part of it is taken."""

    file: Path
    crop: str = CENTER
    """As `read_source` takes it: a face that was looked for is a square by now."""


def list_sources(path: Path) -> list[Path]:
    """The file, or the images of the folder by name; hidden ones do not count.

    Raises:
        SamplingError: it is not there, or the folder holds no image.
    """
    if not path.exists():
        raise SamplingError(f"--source {path}: no such file or folder")
    if path.is_file():
        return [path]
    files = list_images(path)
    if not files:
        raise SamplingError(f"--source {path}: the folder holds no image ({', '.join(sorted(SUFFIXES))})")
    return files


def readable_sources(files: list[Path], crop: str) -> tuple[list[Source], list[str]]:
    """Those that can be read and cropped, found out before anything is generated, and what is to say of the others.

    Args:
        files: as `list_sources` gives them.
        crop: as `read_crop` gives it.

    Raises:
        SamplingError: none can, which names the first, or faces are looked for and no detector is installed.
    """
    if crop == FACE and detector() is None:
        raise SamplingError(
            "--crop face: no face detector is installed: pip install 'anime-lora[faces]', or write top or LEFT,TOP,SIDE"
        )
    readable: list[Source] = []
    notes: list[str] = []
    problems: list[str] = []
    for file in files:
        try:
            image = read_rgb(file)
            place = crop if crop != FACE else _face_square(image) or TOP
            _cropped(image, place, file)
        except BadImageError as error:
            problems.append(f"--source {error}")
        except SamplingError as error:
            problems.append(str(error))
        else:
            readable.append(Source(file, place))
            if crop == FACE and place == TOP:
                notes.append(f"--crop face: no face was found in {file}: its upper part is taken")
    if not readable:
        raise SamplingError(problems[0])
    return readable, [*notes, *(f"{problem}: left out" for problem in problems)]


def _face_square(image: Image.Image) -> str | None:
    """The square in which the face lies as it does in the sample images, as far as the image goes; None without one."""
    face = find_face(image)
    if face is None:
        return None
    side = min(round(face.height * image.height / FACE_SHARE), *image.size)
    across, down = face.centre
    left = min(max(round(across * image.width - side / 2), 0), image.width - side)
    top = min(max(round(down * image.height - side * FACE_HEIGHT), 0), image.height - side)
    return f"{left},{top},{side}"


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
    if plain not in {*HEIGHTS, FACE} and not re.fullmatch(r"\d{1,5},\d{1,5},[1-9]\d{0,4}", plain):
        raise SamplingError(
            f"--crop {text}: write face, top, center, or LEFT,TOP,SIDE of a square in pixels, such as --crop 105,0,240"
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

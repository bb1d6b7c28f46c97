"""A contact sheet of what was set aside and why: thumbnails of what can be opened, the names of all else."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from anime_lora.data.manifest import QuarantinedFile
from anime_lora.data.quality.checks import CHECKS
from anime_lora.errors import BadImageError
from anime_lora.images import ANY_SIZE, read_rgb

TILE, COLUMNS, ROWS = 128, 8, 6
LINES = 24
"""So many names of files that cannot be opened; the others are counted."""
GAP, MARGIN, LINE, SIZE = 8, 16, 15, 12
"""Pixels between tiles, around the page and from line to line of text, and the text's size."""
TEXT, REASON, PAGE = (32, 33, 36), (112, 117, 124), (255, 255, 255)
QUALITY = 80


def contact_sheet(quarantine: Sequence[QuarantinedFile], stored: Mapping[str, Path]) -> bytes:
    """The sheet as WebP, the same bytes for the same rows and images.

    Args:
        quarantine: what was set aside; as many of each check are shown, so that every reason is seen.
        stored: where the images lie that ingest took, by id.
    """
    thumbnails: list[tuple[QuarantinedFile, Image.Image]] = []
    names: list[QuarantinedFile] = []
    for row in _evenly(quarantine):
        thumbnail = _thumbnail(row, stored) if len(thumbnails) < COLUMNS * ROWS else None
        if thumbnail is not None:
            thumbnails.append((row, thumbnail))
        elif not _can_be_opened(row):
            names.append(row)
    return _webp(_page(thumbnails, names, len(quarantine)))


def _evenly(quarantine: Sequence[QuarantinedFile]) -> list[QuarantinedFile]:
    """The first of each check, then the second of each, and so on."""
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for row in quarantine:
        turns.append((seen[row.check], row.check))
        seen[row.check] += 1
    order = sorted(range(len(turns)), key=lambda place: turns[place])
    return [quarantine[place] for place in order]


def _can_be_opened(row: QuarantinedFile) -> bool:
    """A worker has opened it before: what ended workers must not end this process."""
    return row.check in {*CHECKS, "duplicate"} or (row.check == "ingest" and row.id is not None)


def _thumbnail(row: QuarantinedFile, stored: Mapping[str, Path]) -> Image.Image | None:
    file = stored.get(row.id or "") if _can_be_opened(row) else None
    if file is None:
        return None
    try:
        image = read_rgb(file, max_pixels=ANY_SIZE)
    except BadImageError:
        return None
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return image


def _page(
    thumbnails: list[tuple[QuarantinedFile, Image.Image]], names: list[QuarantinedFile], count: int
) -> Image.Image:
    font = ImageFont.load_default(SIZE)
    rows = -(-len(thumbnails) // COLUMNS)
    listed = names[:LINES]
    height = 2 * MARGIN + LINE + rows * (TILE + 2 * LINE + GAP) + (len(listed) + (len(names) > LINES)) * LINE
    page = Image.new("RGB", (2 * MARGIN + COLUMNS * (TILE + GAP) - GAP, height), PAGE)
    canvas = ImageDraw.Draw(page)
    canvas.text((MARGIN, MARGIN), f"{count} files set aside, {len(thumbnails)} of them shown", TEXT, font)
    for place, (row, image) in enumerate(thumbnails):
        left = MARGIN + place % COLUMNS * (TILE + GAP)
        top = MARGIN + LINE + place // COLUMNS * (TILE + 2 * LINE + GAP) + GAP
        page.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
        canvas.text((left, top + TILE), _fitting(row.path.rpartition("/")[2], font, TILE), TEXT, font)
        canvas.text((left, top + TILE + LINE), _fitting(_why(row), font, TILE), REASON, font)
    top = MARGIN + LINE + rows * (TILE + 2 * LINE + GAP) + GAP
    lines = [f"{row.path}: {row.reason}" for row in listed]
    lines += [f"and {len(names) - LINES} more that cannot be opened"] if len(names) > LINES else []
    for number, text in enumerate(lines):
        canvas.text((MARGIN, top + number * LINE), _fitting(text, font, page.width - 2 * MARGIN), TEXT, font)
    return page


def _why(row: QuarantinedFile) -> str:
    if row.value is not None and row.limit is not None:
        return f"{row.check.replace('_', ' ')} {row.value:.3g}, limit {row.limit:.3g}"
    return row.reason


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, its middle left out where it is too long; letters that the font lacks as their numbers."""
    text = text.encode("ascii", "backslashreplace").decode()
    left = len(text)
    short = text
    while left > 2 and font.getlength(short) > width:
        left -= 1
        short = f"{text[: left - left // 2]}...{text[len(text) - left // 2 :]}"
    return short


def _webp(page: Image.Image) -> bytes:
    stream = io.BytesIO()
    page.save(stream, "WEBP", quality=QUALITY)
    return stream.getvalue()

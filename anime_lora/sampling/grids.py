"""Contact sheets: images in labelled rows and columns, as PNG and as a small WebP."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from anime_lora.files import write_bytes
from anime_lora.images import png_bytes, read_rgb

PREVIEW_BYTES, PREVIEW_WIDTH = 300_000, 1400
"""Limits of the WebP, which the report shows and Prefect's artifacts hold."""
TITLE, LABEL, BACKGROUND, EMPTY = (32, 33, 36), (112, 117, 124), (255, 255, 255), (241, 242, 244)
"""Colours: title and row labels, column labels, the page, a cell without an image."""
GAP, MARGIN = 8, 24
"""Pixels between cells and around the page."""


@dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows: `cells[row][column]` is an image's file, or None for an empty place.

    `aspect` is a cell's width over its height.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[str]
    cells: list[list[Path | None]]
    aspect: float = 1.0


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    face = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / face), size)


def compose(sheet: Sheet, tile: int) -> Image.Image:
    """The sheet as an image, each cell `tile` pixels high.

    Column labels stand above, wrapped to a cell's width; row labels stand at the left, wrapped to about half a tile.
    """
    labels, heading = font(max(13, tile // 16)), font(max(18, tile // 10), bold=True)
    wide = round(tile * sheet.aspect)
    side = max(110, tile * 5 // 8) if any(sheet.rows) else 0
    columns = [list(_wrap(text, labels, wide)) for text in sheet.columns]
    line = round(labels.size * 1.35)
    head = MARGIN + round(heading.size * 1.7) + line * max((len(lines) for lines in columns), default=0) + GAP
    width = 2 * MARGIN + side + len(sheet.columns) * (wide + GAP) - GAP
    height = head + len(sheet.cells) * (tile + GAP) - GAP + MARGIN
    page = Image.new("RGB", (max(width, round(heading.getlength(sheet.title)) + 2 * MARGIN), height), BACKGROUND)
    canvas = ImageDraw.Draw(page)
    canvas.text((MARGIN, MARGIN), sheet.title, fill=TITLE, font=heading)
    for column, lines in enumerate(columns):
        left = MARGIN + side + column * (wide + GAP) + wide / 2
        for number, text in enumerate(reversed(lines)):
            canvas.text((left, head - GAP - number * line), text, fill=LABEL, font=labels, anchor="ms")
    for row, files in enumerate(sheet.cells):
        top = head + row * (tile + GAP)
        lines = list(_wrap(sheet.rows[row], labels, side - 16)) if side else []
        for number, text in enumerate(lines):
            middle = top + tile / 2 + (number - (len(lines) - 1) / 2) * line
            canvas.text((MARGIN, middle), text, fill=TITLE, font=labels, anchor="lm")
        for column, file in enumerate(files):
            page.paste(_tile(file, (wide, tile)), (MARGIN + side + column * (wide + GAP), top))
    return page


def _tile(file: Path | None, size: tuple[int, int]) -> Image.Image:
    if file is None:
        return Image.new("RGB", size, EMPTY)
    return read_rgb(file).resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def save(page: Image.Image, stem: Path) -> None:
    """Write `stem`.png whole and `stem`.webp of at most `PREVIEW_BYTES`."""
    # `optimize` takes eight times as long for 5 % fewer bytes
    write_bytes(stem.with_name(stem.name + ".png"), png_bytes(page, compress_level=6))
    write_bytes(stem.with_name(stem.name + ".webp"), preview(page))


def preview(page: Image.Image) -> bytes:
    """A WebP of at most `PREVIEW_WIDTH` pixels across and `PREVIEW_BYTES`: quality falls first, then size."""
    small = page.copy()
    small.thumbnail((PREVIEW_WIDTH, 4 * PREVIEW_WIDTH), Image.Resampling.LANCZOS)
    # sheets of flat colours fit at the first try; noise, or many sources, need smaller ones
    while True:
        for quality in (88, 75, 60):
            stream = io.BytesIO()
            small.save(stream, "WEBP", quality=quality, method=4)
            if stream.tell() <= PREVIEW_BYTES:
                return stream.getvalue()
        small = small.resize((small.width * 3 // 4, small.height * 3 // 4), Image.Resampling.LANCZOS)

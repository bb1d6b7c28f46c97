"""What a run shows in Prefect's pages: images small enough for them, and tables."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from prefect.artifacts import create_image_artifact, create_table_artifact

from anime_lora.images import read_rgb

MAX_BYTES = 300_000
"""An image artifact's size: 3 MB took the UI half a second each, and lists show many."""
MAX_ROWS = 200
SHRINK = 0.8
TILE, COLUMNS = 128, 8
Cell = str | int | float | None
"""A value that a table of Prefect shows."""


def show_image(path: Path, key: str, description: str) -> None:
    """An image artifact of the file, as a `data:` URI of at most `MAX_BYTES`; nothing where there is no file."""
    if path.is_file():
        _image_artifact(*encode_small(path), key, description)


def show_images(files: list[Path], key: str, description: str) -> None:
    """One image artifact with all the images, `TILE` pixels each, in rows of `COLUMNS`."""
    rows = -(-len(files) // COLUMNS)
    sheet = Image.new("RGB", (min(len(files), COLUMNS) * TILE, rows * TILE), "white")
    for i, file in enumerate(files):
        tile = read_rgb(file).resize((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (i % COLUMNS * TILE, i // COLUMNS * TILE))
    _image_artifact(shrink_to_webp(sheet), "webp", key, description)


def _image_artifact(content: bytes, kind: str, key: str, description: str) -> None:
    # As a data URI: the server has no files, and in a Markdown artifact the UI removes such an image.
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    create_image_artifact(image_url=uri, key=key, description=description)


def encode_small(path: Path) -> tuple[bytes, str]:
    """The image's bytes and format, with fewer pixels where that is needed for `MAX_BYTES`."""
    kind = path.suffix.lstrip(".").replace("jpg", "jpeg")
    if kind in {"webp", "jpeg", "png"} and path.stat().st_size <= MAX_BYTES:
        return path.read_bytes(), kind
    return shrink_to_webp(read_rgb(path)), "webp"


def shrink_to_webp(image: Image.Image) -> bytes:
    """WebP of at most `MAX_BYTES`, with fewer pixels where needed."""
    while len(content := _webp(image)) > MAX_BYTES:
        image = image.resize((int(image.width * SHRINK), int(image.height * SHRINK)), Image.Resampling.LANCZOS)
    return content


def _webp(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=80)
    return stream.getvalue()


def show_table(rows: Sequence[Mapping[str, Cell]], key: str, description: str) -> None:
    """A table artifact of the first `MAX_ROWS` rows; says when there are more."""
    more = f" (the first {MAX_ROWS} of {len(rows)})" if len(rows) > MAX_ROWS else ""
    table = [dict(row) for row in rows[:MAX_ROWS]]
    create_table_artifact(table=table, key=key, description=description + more)

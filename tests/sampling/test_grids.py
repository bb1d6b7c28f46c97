import io
from pathlib import Path

import numpy as np
from PIL import Image

from anime_lora.sampling.grids import BACKGROUND, EMPTY, GAP, MARGIN, PREVIEW_BYTES, PREVIEW_WIDTH, Sheet, compose, save

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colour_at(page: Image.Image, row: int, column: int) -> object:
    """The colour in the middle of a cell of 64 pixels, counted from the lower right, where no label stands."""
    return page.getpixel((page.width - MARGIN - 32 - column * (64 + GAP), page.height - MARGIN - 32 - row * (64 + GAP)))


def sheet(tmp_path: Path, **changes: object) -> Sheet:
    Image.new("RGB", (64, 64), RED).save(tmp_path / "red.png")
    Image.new("RGB", (20, 20), BLUE).save(tmp_path / "blue.png")
    values: dict[str, object] = {
        "name": "sheet", "title": "T", "columns": ["left", "right"], "rows": ["upper", "lower"],
        "cells": [[tmp_path / "red.png", None], [None, tmp_path / "blue.png"]], **changes,
    }  # fmt: skip
    return Sheet(**values)  # type: ignore[arg-type]


def test_each_image_stands_in_its_cell_scaled_to_it(tmp_path: Path) -> None:
    page = compose(sheet(tmp_path), 64)
    assert [[colour_at(page, row, column) for column in (1, 0)] for row in (1, 0)] == [[RED, EMPTY], [EMPTY, BLUE]]
    assert page.getpixel((page.width - 1, page.height - 1)) == BACKGROUND


def test_labels_take_room_at_the_left_and_above(tmp_path: Path) -> None:
    labelled = compose(sheet(tmp_path), 64)
    assert compose(sheet(tmp_path, rows=["", ""]), 64).width < labelled.width
    assert compose(sheet(tmp_path, columns=["", ""]), 64).height < labelled.height
    long = compose(sheet(tmp_path, columns=["a label of many words that wraps", "right"]), 64)
    assert long.width == labelled.width
    assert long.height > labelled.height
    assert colour_at(long, 1, 1) == RED


def test_a_long_title_fits_onto_the_page(tmp_path: Path) -> None:
    page = np.asarray(compose(sheet(tmp_path, title="A title much longer than two small cells are wide " * 2), 64))
    assert (page[:, -MARGIN:] == BACKGROUND).all()


def test_cells_may_be_wider_than_high(tmp_path: Path) -> None:
    narrow, wide = (compose(sheet(tmp_path, aspect=aspect), 64) for aspect in (1.0, 3.0))
    assert wide.width - narrow.width == 2 * 2 * 64
    assert wide.height == narrow.height


def test_the_preview_stays_below_its_limits_whatever_it_shows(tmp_path: Path) -> None:
    """Noise is what no codec makes small; the PNG beside it keeps every pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 2000, 3), dtype=np.uint8)
    save(Image.fromarray(noise), tmp_path / "noise.v1")
    small = (tmp_path / "noise.v1.webp").read_bytes()
    assert len(small) <= PREVIEW_BYTES
    assert Image.open(io.BytesIO(small)).width <= PREVIEW_WIDTH
    assert (np.asarray(Image.open(tmp_path / "noise.v1.png")) == noise).all()

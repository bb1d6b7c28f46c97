from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.errors import SamplingError
from anime_lora.generation.sources import Source, list_sources, read_source, readable_sources
from anime_lora.images import read_rgb
from tests.support.tiny import ROOT


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    """100 pixels wide, 200 high; each row has its number as its value."""
    rows = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None], 100, 1).repeat(3, 2)
    Image.fromarray(rows).save(tmp_path / "tall.png")
    return tmp_path / "tall.png"


@pytest.mark.parametrize(("crop", "first", "last"), [("center", 50, 149), ("top", 35, 134), ("0,20,100", 20, 119)])
def test_a_crop_takes_the_middle_the_upper_part_or_a_square(tall: Path, crop: str, first: int, last: int) -> None:
    rows = np.asarray(read_source(tall, (100, 100), crop))[:, 0, 0]
    assert (rows[0], rows[-1]) == (first, last)


def test_a_crop_has_the_shape_of_the_result(tall: Path) -> None:
    assert read_source(tall, (64, 96), "10,10,80").size == (64, 96)
    wide = np.asarray(read_source(tall, (100, 50), "top"))[:, 0, 0]
    assert wide[0] == pytest.approx(0.35 * 150, abs=1)


def test_the_images_of_a_folder_are_its_sources(tall: Path) -> None:
    for name in ("b.JPG", "a.avif", ".x.png", "notes.txt"):
        (tall.parent / name).touch()
    (tall.parent / "folder.png").mkdir()
    assert [file.name for file in list_sources(tall.parent)] == ["a.avif", "b.JPG", "tall.png"]


def test_the_square_around_a_face_has_it_where_the_samples_have_it(tmp_path: Path) -> None:
    """A person of the samples somewhere in a wide image."""
    wide = Image.new("RGB", (900, 500), "gray")
    wide.paste(read_rgb(ROOT / "data/samples/people/01.png").resize((200, 200)), (600, 100))
    wide.save(tmp_path / "wide.png")
    ((source,), notes) = readable_sources([tmp_path / "wide.png"], "face")
    left, top, side = map(int, source.crop.split(","))
    assert notes == []
    assert (left, top, side) == pytest.approx((600, 100, 200), abs=40)


def test_without_a_face_the_upper_part_is_taken_and_said(tall: Path) -> None:
    sources, (note,) = readable_sources([tall], "face")
    assert sources == [Source(tall, "top")]
    assert note == f"--crop face: no face was found in {tall}: its upper part is taken"


def test_without_a_detector_the_extra_is_named(tall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anime_lora.data.faces.PACKAGE", "no-such-package")
    with pytest.raises(SamplingError, match=r"pip install 'anime-lora\[faces\]'"):
        readable_sources([tall], "face")

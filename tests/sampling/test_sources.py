import json
import re
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.errors import SamplingError
from anime_lora.sampling.sources import (
    SourceImage,
    counterpart_of,
    file_stem,
    list_sources,
    place_sources,
    read_source,
    read_sources,
)
from tests.support.small_suite import SOURCE_NAMES


@pytest.mark.parametrize(("name", "expected"), [
    ("01.png", "01"), ("blue-hair.png", "blue-hair"), ("retro 90s.png", "retro_90s"),
    ("x.jpg", "x-8f3c0b84"), ("none.png", "none-"), ("0123abcd.png", "0123abcd-"), ("😀.png", ""), ("A.png", "a-"),
])  # fmt: skip
def test_plain_names_stay_and_others_get_a_hash(name: str, expected: str) -> None:
    """The default run's files are called as before."""
    stem = file_stem(name)
    assert stem == expected or (expected != name[:-4] and re.fullmatch(f"{re.escape(expected)}[0-9a-f]{{8}}", stem))


def test_no_two_names_share_a_file() -> None:
    """Neither on a disk for which upper and lower case are one; and any length fits."""
    long = "長" * 80
    names = [
        *SOURCE_NAMES,
        "A.PNG",
        "A.png",
        "a b.png",
        "a_b.png",
        "a  b.png",
        "é.png",
        "e\u0301.png",
        "none.png",
        "-.png",
    ]
    names += [f"{file_stem('x.jpg')}.png", f"{file_stem('😀.png')}.png", f"{long}.png", f"{long}1.png", "a.png.png"]
    stems = {file_stem(name).casefold() for name in names}
    assert len(stems) == len(names)
    assert max(len(stem.encode()) for stem in stems) <= 49


@pytest.mark.parametrize(("source", "sources", "candidates", "expected"), [
    ("a.png", ["a.png"], ["a.jpg", "a.png"], "a.png"), ("a.jpg", ["a.jpg"], ["a.webp"], "a.webp"),
    ("a.jpg", ["a.jpg"], ["a.webp", "a.png"], None), ("a.jpg", ["a.jpg", "a.png"], ["a.webp"], None),
    ("a.jpg", ["a.jpg"], ["b.jpg"], None),
])  # fmt: skip
def test_a_counterpart_has_the_source_s_name_or_alone_its_stem(
    source: str, sources: list[str], candidates: list[str], expected: str | None
) -> None:
    counterpart = counterpart_of(source, [Path(name) for name in sources], [Path(name) for name in candidates])
    assert (counterpart.name if counterpart else None) == expected


def test_sources_are_the_images_of_the_folder_by_name(sources: Path, tmp_path: Path) -> None:
    """Other and hidden files do not count; a folder without an image is an error, no folder is none."""
    assert [file.name for file in list_sources(str(sources))] == ["a.png", "b.png"]
    assert list_sources(None) == []
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"left by a desktop")
    with pytest.raises(SamplingError, match="no image"):
        list_sources(str(tmp_path))
    with pytest.raises(SamplingError, match="no image"):
        list_sources(str(tmp_path / "nowhere"))


def test_a_source_is_what_a_viewer_shows_of_it(tmp_path: Path) -> None:
    """A turned photo stands upright, and what is transparent is white: the pipeline sees what its owner sees."""
    photo = Image.new("RGB", (40, 20), "blue")
    photo.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    red, blue = (read_source(tmp_path / "turned.jpg", 8).getpixel((4, y)) for y in (1, 6))
    assert red[0] - red[2] > 200
    assert blue[2] - blue[0] > 200
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_source(tmp_path / "clear.png", 8).getcolors() == [(64, (255, 255, 255))]


def test_a_damaged_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SamplingError, match=r"a\.png cannot be read as an image.*repair or remove it"):
        read_source(tmp_path / "a.png", 8)


def test_placed_sources_are_read_back_with_labels_and_counterparts(sources: Path, tmp_path: Path) -> None:
    people, out = tmp_path / "people", tmp_path / "out"
    people.mkdir()
    out.mkdir()
    Image.open(sources / "a.png").save(people / "a.png")
    Image.open(sources / "b.png").save(people / "B x.png")
    label = {"file_name": "a.png", "hair": "red"}
    (people / "metadata.jsonl").write_text(json.dumps(label) + "\n")
    placed = place_sources(out, str(people), str(sources), 32)
    assert placed == [
        SourceImage("B x.png", f"sources/{file_stem('B x.png')}.png", {}),
        SourceImage("a.png", "sources/a.png", label),
    ]
    assert read_sources(out) == placed
    assert Image.open(out / "sources/a.png").size == (32, 32)
    assert [(out / image.counterpart).is_file() for image in placed] == [False, True]


def test_without_sources_none_are_read(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == []
    assert place_sources(tmp_path, None, None, 32) == []
    assert read_sources(tmp_path) == []
    (tmp_path / "sources.jsonl").write_text('{"source": "a.png"}\n')
    with pytest.raises(SamplingError, match=r"sources\.jsonl cannot be read: run `dvc repro validate-sample`"):
        read_sources(tmp_path)

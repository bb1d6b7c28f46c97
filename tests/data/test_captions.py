"""Captions are matched to images by path, and the nearest to the image wins."""

import json
from pathlib import Path

import pytest

from anime_lora.config.data import Ingest
from anime_lora.config.load import load_params
from anime_lora.data.captions import Caption, Captions, is_sidecar, read_captions
from anime_lora.data.sources import list_files
from tests.data.conftest import ROOT


@pytest.fixture
def section() -> Ingest:
    return load_params(ROOT / "params.yaml").ingest


def read_all(folder: Path, section: Ingest) -> Captions:
    return read_captions(list_files(str(folder), section.max_files, section.max_archive_ratio))


def captions_in(folder: Path, section: Ingest) -> dict[str, Caption]:
    return read_all(folder, section).by_image


def test_captions_come_from_text_tables_and_taggers(tmp_path: Path, section: Ingest) -> None:
    """A file of the image's own wins over a table; line breaks become spaces; tables name images beside them."""
    (tmp_path / "own.txt").write_text("girl,\n  blue hair ")
    rows = [{"file_name": "own.png", "text": "loses"}, {"file_name": "table.png", "text": "boy"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/tags.csv").write_text('Filename,tags\ntagged.png,"1girl, smile"\nuntagged.png,\n')
    assert captions_in(tmp_path, section) == {
        "own": Caption("girl, blue hair", "own.txt"),
        "table": Caption("boy", "metadata.jsonl"),
        "deep/tagged": Caption("1girl, smile", "deep/tags.csv"),
    }


def test_lines_that_are_no_rows_are_passed_over(tmp_path: Path, section: Ingest) -> None:
    """A broken line costs no other line; a table without known columns has no caption."""
    (tmp_path / "metadata.jsonl").write_text(
        '{"broken\n[1]\n{"file": "a.png", "caption": "girl"}\n{"text": "nobody"}\n'
    )
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    assert captions_in(tmp_path, section) == {
        "a": Caption("girl", "metadata.jsonl"),
        "b": Caption("café", "b.txt"),
    }


def test_what_lies_beside_images_is_no_image() -> None:
    names = ["a.png", "a.txt", "A.CAPTION", "metadata.jsonl", "tags.csv", "README.md", "info.json", "a.jpg"]
    assert [name for name in names if not is_sidecar(name)] == ["a.png", "a.jpg"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1girl, blue hair", "utf-8-sig"),
        ("1girl, 青い髪", "utf-16"),
        ("1girl, 青い髪", "utf-8"),
        ("少女, 青い髪", "shift-jis"),
        ("少女が笑っている、青い髪", "cp932"),
        ("一个女孩，蓝色的头发，微笑着看着镜头", "gb18030"),
        ("une fille, yeux bleus, café, très élégante", "latin-1"),
    ],
)
def test_a_caption_is_read_in_the_encoding_it_is_in(text: str, encoding: str, tmp_path: Path, section: Ingest) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert captions_in(tmp_path, section) == {"a": Caption(text, "a.txt")}


def test_what_cannot_be_read_is_named_and_costs_no_other_caption(tmp_path: Path, section: Ingest) -> None:
    """A csv field beyond the csv module's limit, half a surrogate pair, endless nesting, zero bytes."""
    (tmp_path / "good.txt").write_text("girl")
    (tmp_path / "wide.csv").write_text('name,tags\na.png,"' + "x" * 200_000 + '"\n')
    (tmp_path / "metadata.jsonl").write_text('{"file_name":"g.png","text":"\\ud800"}\n')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/metadata.jsonl").write_text("[" * 200_000 + "\n")
    (tmp_path / "zero.txt").write_bytes(b"a\0b\0\0c")
    captions = read_all(tmp_path, section)
    assert captions.by_image == {"good": Caption("girl", "good.txt")}
    assert set(captions.unreadable) == {"wide.csv", "metadata.jsonl", "deep/metadata.jsonl", "zero.txt"}
    assert all(captions.unreadable.values())


def test_a_table_names_images_as_other_systems_do_and_lists_tags(tmp_path: Path, section: Ingest) -> None:
    rows = [
        {"file_name": "a.png", "tags": ["1girl", "smile"]},
        {"file_name": "sub\\b.png", "text": "windows"},
        {"file_name": "./sub/../c.png", "text": "dot\u2028line"},
        {"file_name": ".", "text": "nothing"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert {image: caption.text for image, caption in captions_in(tmp_path, section).items()} == {
        "a": "1girl, smile",
        "sub/b": "windows",
        "c": "dot line",
    }

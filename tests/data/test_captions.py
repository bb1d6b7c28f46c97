"""Captions are matched to images by path, and the nearest to the image wins."""

import json
from pathlib import Path

import pytest

from anime_lora.config.data import Ingest
from anime_lora.config.load import load_params
from anime_lora.data.captions import Caption, is_sidecar, read_captions
from anime_lora.data.sources import list_files
from tests.data.conftest import ROOT


@pytest.fixture
def section() -> Ingest:
    return load_params(ROOT / "params.yaml").ingest


def captions_in(folder: Path, section: Ingest) -> dict[str, Caption]:
    return read_captions(list_files(str(folder), section.max_files, section.max_archive_ratio))


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
    """A broken line costs no other line; a table without known columns has no caption; bytes that are no text pass."""
    (tmp_path / "metadata.jsonl").write_text(
        '{"broken\n[1]\n{"file": "a.png", "caption": "girl"}\n{"text": "nobody"}\n'
    )
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    assert captions_in(tmp_path, section) == {
        "a": Caption("girl", "metadata.jsonl"),
        "b": Caption("caf\ufffd", "b.txt"),
    }


def test_what_lies_beside_images_is_no_image() -> None:
    names = ["a.png", "a.txt", "A.CAPTION", "metadata.jsonl", "tags.csv", "README.md", "info.json", "a.jpg"]
    assert [name for name in names if not is_sidecar(name)] == ["a.png", "a.jpg"]

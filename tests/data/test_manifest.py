"""What a stage wrote is read as what it was; what is no manifest says which line, and what to run."""

from dataclasses import replace
from pathlib import Path

import pytest

from anime_lora.data.manifest import DatasetImage, IngestedFile, SquareImage, ValidImage, read_manifest
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl, write_jsonl
from tests.data.conftest import Project

SQUARE = SquareImage("a" * 64, None, "a" * 64, "a.png", "images/a.png", "b" * 64, "c" * 64, 160, 160)


def test_the_manifests_of_the_stages_hold_these_rows_and_no_other_keys(project: Project) -> None:
    project.add(3)
    project.all()
    for row_type in (IngestedFile, ValidImage, SquareImage, DatasetImage):
        folder = Path("data") / row_type.STAGE
        rows = read_manifest(folder, row_type)
        assert len(rows) == 3
        keys = [key for key in vars(rows[0]) if key != "code"]  # not written of files that were taken
        assert [{key: vars(row)[key] for key in keys} for row in rows] == read_jsonl(folder / row_type.FILE)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Also a caption with characters that other readers take for the end of a line."""
    rows = [replace(SQUARE, caption=text) for text in ("girl, „öäü“", "a\u2028b\x85c", None)]
    write_jsonl(tmp_path / SquareImage.FILE, rows)
    assert read_manifest(tmp_path, SquareImage) == rows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{\n", "line 1: row: invalid json"),
        ('\n{"id": "a"}\n', "line 2: caption: field required"),
        ('{"id": 5}\n', "line 1: id: input should be a valid string"),
    ],
)
def test_a_damaged_manifest_names_line_and_field_and_what_to_run(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / SquareImage.FILE).write_text(text)
    with pytest.raises(DatasetError, match=rf"manifest\.jsonl is damaged \({reason}.*python -m anime_lora resize"):
        read_manifest(tmp_path, SquareImage)


def test_a_missing_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"manifest\.jsonl not found: run `python -m anime_lora validate`"):
        read_manifest(tmp_path, ValidImage)

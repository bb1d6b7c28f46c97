"""What was set aside is seen: thumbnails with reasons, the names of what cannot be opened, the same bytes each time."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.data.manifest import QuarantinedFile
from anime_lora.data.quality import contact_sheet as sheets
from anime_lora.data.quality.contact_sheet import contact_sheet
from tests.data.conftest import Project, image


def row(number: int, check: str = "sharpness", id_: str | None = "x") -> QuarantinedFile:
    return QuarantinedFile(id_, "in", f"folder/{number}.png", check, 1.0, 20.0, "blurred")


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_every_check_is_shown_although_one_set_most_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(1).save(tmp_path / "x.png")
    shown: list[str] = []
    real = sheets._thumbnail

    def recorded(one: QuarantinedFile, stored: dict[str, Path]) -> Image.Image | None:
        shown.append(one.check)
        return real(one, stored)

    monkeypatch.setattr(sheets, "_thumbnail", recorded)
    rows = [*(row(number) for number in range(200)), row(200, "aspect"), row(201, "duplicate")]
    contact_sheet(rows, {"x": tmp_path / "x.png"})
    assert len(shown) == sheets.COLUMNS * sheets.ROWS
    assert {"aspect", "duplicate", "sharpness"} == set(shown)


def test_files_that_ended_a_worker_or_could_not_be_opened_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "read_rgb", None)
    rows = [row(0, "killed"), row(1, "damaged"), row(2, "memory"), row(3, "ingest", None)]
    assert opened(contact_sheet(rows, {"x": Path("x.png")})).height > 4 * sheets.LINE


def test_a_file_that_is_gone_costs_its_thumbnail_only(tmp_path: Path) -> None:
    assert contact_sheet([row(0)], {"x": tmp_path / "absent.png"})


def test_names_in_any_script_and_of_any_length_fit(tmp_path: Path) -> None:
    font = sheets.ImageFont.load_default(sheets.SIZE)
    for name in ("髪" * 80, "a" * 300, "\u200b", ""):
        assert font.getlength(sheets._fitting(name, font, 128)) <= 128


def test_the_sheet_is_written_where_anything_was_set_aside_and_is_the_same_again(project: Project) -> None:
    project.add(4)
    project.ingest()
    project.validate()
    sheet = project.root / "data/validate/set_aside.webp"
    assert not sheet.exists()
    Image.new("RGB", (200, 200), (250, 0, 0)).save(project.source / "blank.png")
    (project.source / "words.png").write_text("no image")
    project.ingest()
    project.validate()
    first = sheet.read_bytes()
    red = np.asarray(opened(first), int)
    assert ((red[..., 0] > 230) & (red[..., 1] < 40)).sum() > 100 * 100
    project.validate()
    assert sheet.read_bytes() == first

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anime_lora.data.quality import measures
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl
from tests.data.conftest import Project, image

OUT = Path("data/validate")


def aside() -> dict[str, str]:
    return {row["path"]: row["check"] for row in read_jsonl(OUT / "quarantine.jsonl")}


def test_each_fault_is_set_aside_with_check_value_and_limit(project: Project) -> None:
    project.add(6)
    source = project.source
    Image.new("RGB", (1, 1)).save(source / "one.png")
    image(20, side=64).save(source / "small.png")
    image(21, side=400).crop((0, 0, 400, 160)).save(source / "long.png")
    Image.new("RGB", (200, 200), (90, 120, 40)).save(source / "blank.png")
    image(22).filter(ImageFilter.GaussianBlur(20)).save(source / "blurred.png")
    image(0).save(source / "same.bmp")
    (source / "words.png").write_text("no image")
    project.ingest()
    project.validate(max_rejected_share=0.6)
    assert aside() == {
        "one.png": "contrast",
        "small.png": "short_side",
        "long.png": "aspect",
        "blank.png": "contrast",
        "blurred.png": "sharpness",
        "same.bmp": "duplicate",
        "words.png": "ingest",
    }
    rows = {row["path"]: row for row in read_jsonl(OUT / "quarantine.jsonl")}
    assert (rows["small.png"]["value"], rows["small.png"]["limit"]) == (64, 128)
    assert "validate.min_side" in rows["small.png"]["reason"]
    assert len(read_jsonl(OUT / "manifest.jsonl")) == 6


@pytest.mark.parametrize(("changes", "says"), [
    ({"min_images": 5}, "validate.min_images = 5"), ({"max_rejected_share": 0.1}, "validate.max_rejected_share = 10%"),
    ({"min_caption_share": 1.0}, "validate.min_caption_share = 100%"),
])  # fmt: skip
def test_too_little_left_stops_with_counts_and_writes_nothing(
    project: Project, changes: dict[str, object], says: str
) -> None:
    project.add(3)
    (project.source / "000.txt").unlink()
    (project.source / "words.png").write_text("no image")
    project.ingest()
    with pytest.raises(DatasetError, match=says):
        project.validate(**changes)
    assert not OUT.exists()


def test_a_missing_or_damaged_manifest_says_what_to_run(project: Project) -> None:
    with pytest.raises(DatasetError, match="anime_lora ingest"):
        project.validate()
    project.add(2)
    project.ingest()
    Path("data/ingest/manifest.jsonl").write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        project.validate()


def test_near_duplicates_share_a_cluster(project: Project) -> None:
    project.add(3)
    brighter = np.clip(np.asarray(image(0)).astype(int) + 4, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(project.source / "brighter.png")
    project.ingest()
    project.validate()
    by_path = {row["path"]: row["cluster"] for row in read_jsonl(OUT / "manifest.jsonl")}
    assert by_path["brighter.png"] == by_path["000.png"]
    assert len(set(by_path.values())) == 3


def test_only_a_new_image_is_measured(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.add(3)
    project.ingest()
    project.validate()
    project.add(1, first=3)
    project.ingest()
    capsys.readouterr()
    project.validate()
    assert "1 made anew" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), "memory"), (KeyError("x"), "damaged")])
def test_what_cannot_be_measured_is_set_aside_and_the_run_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """Want of memory passes, so it is tried again; damage is remembered."""
    project.add(4)
    project.ingest()
    real = measures.to_rgb
    calls = iter(range(100))

    def failing(image: Image.Image) -> Image.Image:
        if next(calls) == 0:
            raise error
        return real(image)

    monkeypatch.setattr(measures, "to_rgb", failing)
    project.validate()
    assert list(aside().values()) == [code]
    assert all(row["reason"] for row in read_jsonl(OUT / "quarantine.jsonl"))
    monkeypatch.setattr(measures, "to_rgb", real)
    project.validate()
    assert list(aside().values()) == ([] if code == "memory" else [code])


def test_an_image_whose_exif_cannot_be_read_is_valid(project: Project) -> None:
    project.add(2)
    image(5).save(project.source / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    image(6).save(project.source / "phone.jpg", "MPO", save_all=True, append_images=[image(7)])
    project.ingest()
    project.validate()
    assert aside() == {}
    assert {row["path"] for row in read_jsonl(OUT / "manifest.jsonl")} >= {"odd.jpg", "phone.jpg"}

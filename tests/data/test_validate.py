from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

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

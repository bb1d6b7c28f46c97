"""A look at a folder says what the run will make of it, and leaves nothing but caches."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.config.load import load_params
from anime_lora.data.ingest import ingest
from anime_lora.data.survey import DataSections, survey
from anime_lora.errors import DatasetError, SourceError

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images of noise, 150 to 700 px, half of them with captions; one blank, one no image, one twice."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(12):
        side = 150 + 50 * number
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        if number % 2:
            (folder / f"{number:02}.txt").write_text(f"girl, number {number}")
    Image.new("RGB", (300, 300), "white").save(folder / "blank.png")
    (folder / "notes.png").write_text("no image")
    (folder / "twice.png").write_bytes((folder / "00.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    return folder


def sections(*sources: str) -> DataSections:
    section = PARAMS.ingest.model_copy(update={"sources": sources})
    return DataSections(section, PARAMS.validate_, PARAMS.resize, PARAMS.organize)


def test_it_counts_sizes_captions_and_what_is_set_aside(faces: Path, tmp_path: Path) -> None:
    compute = PARAMS.compute.model_copy(update={"workers": 1})
    before = sorted(path.name for path in faces.iterdir())
    result = survey(sections("faces"), PARAMS.concept, compute, tmp_path / "work")
    assert (result.files, result.images, result.usable, result.with_caption) == (21, 15, 12, 6)
    assert result.sides == (150, 450, 700)
    assert result.enlarged == 8
    assert {one.reason: one.count for one in result.set_aside} == {"contrast": 1, "no image": 1, "duplicate": 1}
    rows = dict(result.rows())
    assert rows["shorter side"] == "150 to 700 px, median 450; 8 are below 512 px and will be enlarged"
    assert rows["set aside"] == "3 files"
    assert "blank.png: blank: luma deviates by 0" in rows["  contrast"]
    assert (tmp_path / "work/organize/metadata.jsonl").is_file()
    assert sorted(path.name for path in faces.iterdir()) == before
    assert not (tmp_path / "data").exists()


def test_the_run_after_it_opens_nothing_again(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compute = PARAMS.compute.model_copy(update={"workers": 1})
    survey(sections("faces"), PARAMS.concept, compute, tmp_path / "work")
    assert "taken" not in capsys.readouterr().out
    ingest(sections("faces").ingest, compute)
    assert "0 made anew" in capsys.readouterr().out


def test_a_folder_that_does_not_do_is_one_clear_error(faces: Path, tmp_path: Path) -> None:
    for number in range(2, 12):
        (faces / f"{number:02}.png").unlink()
    with pytest.raises(DatasetError, match=r"2 valid images, fewer than validate\.min_images"):
        survey(sections("faces"), PARAMS.concept, PARAMS.compute, tmp_path / "work")
    with pytest.raises(SourceError, match="nowhere does not exist"):
        survey(sections("nowhere"), PARAMS.concept, PARAMS.compute, tmp_path / "work")

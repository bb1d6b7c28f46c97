"""The sample images in the repository are complete and render again, byte for byte."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pocket.faces import samples
from pocket.faces.captions import tags
from pocket.faces.character import attributes, sample_character
from tests.house.doors import ROOT

SAMPLES = ROOT / "data/samples"


def test_samples_are_complete() -> None:
    """240 anime faces of 128 px have their tags beside them; 24 people have a line of metadata and a counterpart."""
    for number in range(samples.ANIME_COUNT):
        file = SAMPLES / "anime" / f"{number + 1:04d}.png"
        text = file.with_suffix(".txt").read_text(encoding="utf-8").strip()
        assert text == tags(sample_character(samples.ANIME_SEED + number))
        with Image.open(file) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
    rows = [json.loads(line) for line in (SAMPLES / "people/metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == samples.PEOPLE_COUNT
    for row in rows:
        character = sample_character(row["seed"])
        assert attributes(character).items() <= row.items()
        assert row["caption"] == tags(character)
        assert (SAMPLES / "people" / row["file_name"]).is_file()
        assert (SAMPLES / "counterparts" / row["file_name"]).is_file()
    assert len(list(SAMPLES.rglob("*.png"))) == samples.ANIME_COUNT + 2 * samples.PEOPLE_COUNT
    assert "CC0" in (SAMPLES / "README.md").read_text(encoding="utf-8")


def test_samples_render_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that renders the samples writes the files in the repository byte for byte."""
    monkeypatch.setattr(samples, "ANIME_COUNT", 4)
    monkeypatch.setattr(samples, "PEOPLE_COUNT", 2)
    samples.render_samples(tmp_path / "samples")
    rendered = sorted(path for path in (tmp_path / "samples").rglob("*") if path.suffix in {".png", ".txt"})
    assert len(rendered) == 4 * 2 + 2 * 2
    for path in rendered:
        assert path.read_bytes() == (SAMPLES / path.relative_to(tmp_path / "samples")).read_bytes()

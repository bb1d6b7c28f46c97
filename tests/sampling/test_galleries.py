from pathlib import Path

import pytest
from PIL import Image

from anime_lora.sampling.galleries import epochs, sheets
from anime_lora.sampling.grids import Sheet
from anime_lora.sampling.suite import Shot, shots
from tests.support.small_suite import CONCEPT, small_suite


def lay_out(counterparts: dict[str, Path], people: Path | None, **changes: object) -> dict[str, Sheet]:
    """The sheets of a suite whose images are called as its shots."""
    suite = shots(small_suite(sources=None if people is None else str(people), **changes), CONCEPT)
    names = {str(shot.source): Path(f"source {shot.source}") for shot in suite if shot.source}
    made = list(sheets({shot: Path(shot.name) for shot in suite}, names, counterparts))
    assert len({sheet.name for sheet in made}) == len(made)
    return {sheet.name: sheet for sheet in made}


def rows_of(sheet: Sheet) -> dict[str, list[str]]:
    return {row: [str(cell) for cell in cells] for row, cells in zip(sheet.rows, sheet.cells, strict=True)}


def test_base_stands_beside_lora_on_the_same_noise() -> None:
    sheet = lay_out({}, None)["base-lora"]
    assert sheet.columns == ["girl, red hair", "boy, blue hair"]
    assert rows_of(sheet) == {
        "base": ["trigger-base-trigger-00-s1", "trigger-base-trigger-01-s1"],
        "LoRA": ["trigger-lora-trigger-00-s1", "trigger-lora-trigger-01-s1"],
    }


def test_features_are_shown_for_every_seed_and_the_trigger_s_arms_for_one() -> None:
    made = lay_out({}, None)
    assert rows_of(made["features"]) == {
        "seed 1": ["trigger-lora-trigger-00-s1", "trigger-lora-trigger-01-s1"],
        "seed 2": ["trigger-lora-trigger-00-s2", "trigger-lora-trigger-01-s2"],
    }
    assert {row: cells[0] for row, cells in rows_of(made["trigger"]).items()} == {
        "base, no trigger": "trigger-base-plain-00-s1",
        "base, trigger": "trigger-base-trigger-00-s1",
        "LoRA, no trigger": "trigger-lora-plain-00-s1",
        "LoRA, trigger": "trigger-lora-trigger-00-s1",
    }


def test_sweeps_have_their_values_as_columns() -> None:
    made = lay_out({}, None)
    assert made["guidance"].columns == ["guidance 1", "guidance 5"]
    assert made["scale"].columns == ["scale 0", "scale 1"]
    assert rows_of(made["scale"])["girl, red hair"] == ["scale-lora-00-x0-s1", "scale-lora-00-x1-s1"]
    assert rows_of(made["styles"]) == {
        "no style word": ["styles-lora-00-none-cfg5-s1"],
        "chibi": ["styles-lora-00-chibi-cfg5-s1"],
    }


def test_a_person_stands_above_both_answers_at_the_greatest_strength_both_have(sources: Path) -> None:
    sheet = lay_out({}, sources, strengths=(0.5, 0.8, 1.0), base_strengths=(0.5, 0.8))["people"]
    assert "strength 0.8" in sheet.title
    assert rows_of(sheet) == {
        "source": ["source a.png", "source b.png"],
        "base": ["strength-base-a-at0.8-s1", "strength-base-b-at0.8-s1"],
        "LoRA": ["strength-lora-a-at0.8-s1", "strength-lora-b-at0.8-s1"],
    }


def test_without_a_shared_strength_no_people_are_shown(sources: Path) -> None:
    assert "people" not in lay_out({}, sources, strengths=(0.5, 0.8), base_strengths=())


def test_the_strength_gallery_shows_source_lora_controlnet_counterpart_and_base(sources: Path) -> None:
    sheet = lay_out({"b.png": Path("truth b")}, sources, controlnet="net", source_seeds=2)["strength-1"]
    assert sheet.columns == ["source", "LoRA 0.5", "LoRA 1", "ControlNet 0.8", "true counterpart", "base 1"]
    images = ["strength-lora-{}-at0.5-s1", "strength-lora-{}-at1.0-s1", "strength-control-{}-at0.8-s1"]
    assert sheet.cells == [
        [Path("source a.png"), *(Path(one.format("a")) for one in images), None, Path("strength-base-a-at1.0-s1")],
        [
            Path("source b.png"), *(Path(one.format("b")) for one in images),
            Path("truth b"), Path("strength-base-b-at1.0-s1"),
        ],
    ]  # fmt: skip


def test_many_sources_take_several_sheets(tmp_path: Path) -> None:
    for number in range(9):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    made = lay_out({}, tmp_path)
    assert [len(made[f"strength-{page}"].cells) for page in (1, 2)] == [8, 1]
    assert made["strength-2"].title.endswith("page 2")
    assert len(made["people"].columns) == 8


def test_drift_and_combining_have_a_row_for_each_arm() -> None:
    made = lay_out({}, None, second_adapter="second.safetensors")
    assert made["drift"].rows == ["base", "LoRA"]
    assert made["drift"].columns == ["a photo", "a sketch"]
    assert rows_of(made["combining"]) == {
        "base": ["combining-base-00-s1", "combining-base-01-s1"],
        "LoRA": ["combining-lora-00-s1", "combining-lora-01-s1"],
        "second LoRA": ["combining-second-00-s1", "combining-second-01-s1"],
        "both": ["combining-both-00-s1", "combining-both-01-s1"],
    }


@pytest.mark.parametrize(
    "images", [{}, {Shot("strength", "lora", "a", "girl", "", 1, 2, 5.0, strength=0.5): Path("a")}]
)
def test_an_empty_gallery_has_no_sheet(images: dict[Shot, Path]) -> None:
    assert [sheet.name for sheet in sheets(images, {}, {})] == ["strength-1"] * len(images)


def test_epochs_are_rows_of_training_s_strips(tmp_path: Path) -> None:
    assert epochs(tmp_path) is None
    for number in (1, 2):
        Image.new("RGB", (60, 20)).save(tmp_path / f"epoch-{number:03d}.png")
    sheet = epochs(tmp_path)
    assert sheet is not None
    assert sheet.rows == ["epoch 1", "epoch 2"]
    assert sheet.cells == [[tmp_path / "epoch-001.png"], [tmp_path / "epoch-002.png"]]
    assert sheet.aspect == 3

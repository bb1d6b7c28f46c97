from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.sampling.suite import ModelIdentity, Shot, compose_prompt, shots, suite_id
from tests.support.small_suite import CONCEPT, small_suite

IDENTITY = ModelIdentity(base="0" * 16, configs="1" * 16, sampler="DDIM 2", resolution=64, dtype="torch.float32")


@pytest.fixture
def every_gallery(sources: Path) -> list[Shot]:
    return shots(small_suite(sources=str(sources), second_adapter="b.safetensors", controlnet="net"), CONCEPT)


def test_every_image_has_a_file_name_of_its_own(every_gallery: list[Shot]) -> None:
    assert len({shot.name.casefold() for shot in every_gallery}) == len(every_gallery) == len(set(every_gallery))


def test_styles_that_differ_in_signs_only_are_two_images() -> None:
    """So do values that differ behind the sixth digit."""
    styles = dict.fromkeys(("chibi", "chibi!", "chibi?", "none", "✨", "✨✨"), "chibi style")
    suite = shots(small_suite(styles=styles, guidances=(7.5, 7.5000001, 5.0)), CONCEPT)
    assert len({shot.name for shot in suite}) == len(suite)


def test_a_file_name_says_gallery_arm_subject_and_what_is_swept() -> None:
    """The default run's files are called as before."""
    shot = Shot("trigger", "lora-trigger", "girl", "face girl", "", 101, 16, 7.5, ordinal=3)
    assert shot.name == "trigger-lora-trigger-03-s101"
    assert replace(shot, gallery="guidance", arm="lora").name == "guidance-lora-03-cfg7.5-s101"
    assert replace(shot, gallery="scale", arm="lora", lora_scale=0.5).name == "scale-lora-03-x0.5-s101"
    assert replace(shot, gallery="styles", arm="lora").name == "styles-lora-03-none-cfg7.5-s101"
    assert replace(shot, gallery="styles", arm="lora", style="retro 90s").name == "styles-lora-03-retro_90s-cfg7.5-s101"
    assert replace(shot, gallery="strength", arm="base", source="01.png", strength=0.65).name == (
        "strength-base-01-at0.65-s101"
    )


def test_arms_that_are_compared_share_prompt_and_seed(every_gallery: list[Shot]) -> None:
    """Base and LoRA start from the same noise, so their images differ by the LoRA only."""
    for gallery in ("trigger", "drift", "combining", "strength"):
        by_arm: dict[str, set[tuple[object, ...]]] = {}
        for shot in every_gallery:
            if shot.gallery == gallery and shot.trigger is (gallery != "drift"):
                by_arm.setdefault(shot.arm, set()).add((shot.cluster, shot.prompt, shot.seed, shot.source))
        assert len(by_arm) >= 2, gallery
        assert len({frozenset(units) for units in by_arm.values()}) == 1, gallery


def test_the_trigger_stands_in_the_prompt_or_does_not() -> None:
    assert compose_prompt(CONCEPT, "girl") == "myStyle face girl"
    assert compose_prompt(CONCEPT, "girl", trigger=False) == "face girl"
    drift = [shot for shot in shots(small_suite(), CONCEPT) if shot.gallery == "drift"]
    assert {shot.prompt for shot in drift} == {"a photo", "a sketch"}


def test_a_shot_says_which_adapters_are_on(every_gallery: list[Shot]) -> None:
    by_arm = {shot.arm: shot.lora_weights for shot in every_gallery if shot.gallery == "combining"}
    assert by_arm == {"base": {}, "lora": {"style": 1.0}, "second": {"second": 1.0}, "both": {"style": 1, "second": 1}}
    assert {shot.arm for shot in every_gallery if shot.uses_controlnet} == {"control"}


def test_the_suite_s_id_covers_shots_sources_model_and_controlnet(sources: Path, tmp_path: Path) -> None:
    """What no image shows does not count: the prompt of sources where there are none."""
    plain = shots(small_suite(), CONCEPT)
    first = suite_id(plain, None, IDENTITY, None)
    assert suite_id(shots(small_suite(source_prompt="x"), CONCEPT), None, IDENTITY, None) == first
    people = tmp_path / "people"
    people.mkdir()
    Image.open(sources / "a.png").save(people / "a.png")
    before = suite_id(plain, str(people), IDENTITY, None)
    Image.new("RGB", (40, 60)).save(people / "a.png")
    others = [
        suite_id(shots(small_suite(seeds=(3, 4)), CONCEPT), None, IDENTITY, None),
        suite_id(plain, None, replace(IDENTITY, resolution=128), None),
        suite_id(plain, None, IDENTITY, "net"),
        suite_id(plain, str(people), IDENTITY, None),
    ]
    assert len({first, before, *others}) == 6

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.config.section import Base, Compute
from anime_lora.sampling.generate import generate, image_key, parameters
from anime_lora.sampling.pipelines import LoadedLora, Pipelines
from anime_lora.sampling.suite import Shot


def shot(seed: int = 1, **changes: object) -> Shot:
    plain = Shot(
        "trigger", "lora-trigger", "girl", "myStyle face girl", "", seed, steps=2, guidance=5.0, lora_scale=1.0
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file), dtype=int)


def generated(
    shots: list[Shot], pipelines: Pipelines, memo: Path, batch_size: int = 4, sources: Path | None = None
) -> list[np.ndarray]:
    files = generate(shots, pipelines, memo, sources=sources, batch_size=batch_size, on_progress=lambda _: None)
    return [pixels(files[one]) for one in shots]


def test_an_image_depends_on_neither_its_batch_nor_its_place_in_it(pipelines: Pipelines, tmp_path: Path) -> None:
    """But for rounding: 1/255 at most. Prompt and seed change it."""
    shots = [shot(seed) for seed in range(3)]
    together = generated(shots, pipelines, tmp_path / "a", batch_size=3)
    backwards = generated(shots[::-1], pipelines, tmp_path / "b", batch_size=2)[::-1]
    alone = generated(shots, pipelines, tmp_path / "c", batch_size=1)
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert abs(one - two).max() <= 1
        assert abs(one - three).max() <= 1
    assert abs(together[0] - together[1]).max() > 10


def test_the_lora_at_weight_0_gives_the_base_s_image_bit_for_bit(
    pipelines: Pipelines, base: Base, compute: Compute, tmp_path: Path
) -> None:
    """At weight 1 it does not."""
    zero, one = generated([shot(lora_scale=0.0), shot()], pipelines, tmp_path / "lora")
    (untouched,) = generated([shot(lora_scale=0.0)], Pipelines(base, compute), tmp_path / "base")
    assert (zero == untouched).all()
    assert (one != untouched).any()


def test_the_lower_the_strength_the_more_the_source_decides(
    pipelines: Pipelines, sources: Path, tmp_path: Path
) -> None:
    """Two sources on the same noise: their images differ more at a low strength."""
    shots = [
        shot(source=source, strength=strength, gallery="strength", steps=10)
        for strength in (0.1, 0.5, 1.0)
        for source in ("a.png", "b.png")
    ]
    images = generated(shots, pipelines, tmp_path, sources=sources)
    assert {image.shape for image in images} == {(64, 64, 3)}
    low, middle, high = (abs(one - other).mean() for one, other in zip(images[::2], images[1::2], strict=True))
    assert low > middle > high


def test_what_was_generated_before_is_not_generated_again(pipelines: Pipelines, tmp_path: Path) -> None:
    """One changed prompt generates one image."""
    shots = [shot(seed) for seed in range(3)]
    generated(shots, pipelines, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    generated([*shots, shot(prompt="other")], pipelines, tmp_path)
    after = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_labels_do_not_change_an_image_s_key_and_everything_else_does(pipelines: Pipelines) -> None:
    """The base's images keep theirs when the LoRA is another."""
    key = image_key(shot(), pipelines, None)
    assert image_key(shot(gallery="scale", arm="lora", ordinal=3), pipelines, None) == key
    changes = [
        {"seed": 2},
        {"prompt": "x"},
        {"negative_prompt": "x"},
        {"steps": 3},
        {"guidance": 1.0},
        {"lora_scale": 0.5},
    ]
    assert len({key, *(image_key(shot(**change), pipelines, None) for change in changes)}) == len(changes) + 1
    base_key = image_key(shot(lora_scale=0.0), pipelines, None)
    pipelines.loras["style"] = LoadedLora("another", "myStyle")
    assert image_key(shot(lora_scale=0.0), pipelines, None) == base_key
    assert image_key(shot(), pipelines, None) != key


def test_a_png_says_how_a_web_ui_generates_it_again(pipelines: Pipelines, tmp_path: Path) -> None:
    generated([shot(negative_prompt="blurry")], pipelines, tmp_path)
    (file,) = tmp_path.rglob("*.png")
    text = Image.open(file).text["parameters"]
    assert text.splitlines()[:2] == ["myStyle face girl <lora:myStyle:1>", "Negative prompt: blurry"]
    assert "Steps: 2, Sampler: DDIM, CFG scale: 5, Seed: 1, Size: 64x64" in text


@pytest.mark.parametrize("prompt", ["girl (smiling)", "saber (fate), [2020s]", "a\\b (c:1.3) \\(d\\)", ")(", "no sign"])
def test_brackets_in_a_prompt_are_letters_to_a_web_ui_too(pipelines: Pipelines, prompt: str) -> None:
    """Here they never weigh a word; written as they are, a web UI would read weights and generate another image."""
    text = parameters(shot(prompt=prompt, negative_prompt=prompt, lora_scale=0.0), pipelines)
    positive, negative = text.splitlines()[:2]
    assert read_as_web_ui(positive) == [(letter, 0) for letter in prompt]
    assert read_as_web_ui(negative.removeprefix("Negative prompt: ")) == [(letter, 0) for letter in prompt]


def read_as_web_ui(prompt: str) -> list[tuple[str, int]]:
    """Each letter of a prompt in A1111's syntax, and how many brackets that change its weight are open around it."""
    letters, depth = [], 0
    for escaped, letter in re.findall(r"\\(.)|(.)", prompt):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        if escaped or letter not in {"", *"()[]"}:
            letters.append((escaped or letter, depth))
    return letters


def test_a_model_s_name_with_a_comma_stays_one_value(pipelines: Pipelines) -> None:
    pipelines.model = "soft, anime: v2"
    settings = parameters(shot(), pipelines).splitlines()[-1]
    assert 'Model: "soft, anime: v2", RNG: CPU' in settings

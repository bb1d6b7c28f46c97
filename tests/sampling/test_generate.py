import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.section import Base, Compute
from anime_lora.sampling.generate import generate, image_key, parameters
from anime_lora.sampling.pipelines import LoadedLora, Pipelines
from anime_lora.sampling.sources import read_source
from anime_lora.sampling.suite import Shot


@pytest.fixture
def pipelines(base: Base, compute: Compute, lora_file: Path) -> Pipelines:
    made = Pipelines(base, compute)
    made.load_lora(lora_file, label="myStyle")
    return made


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


def test_batch_and_order(pipelines: Pipelines, tmp_path: Path) -> None:
    """An image depends on its prompt and seed, not on its batch or its place in it (1/255 at most)."""
    shots = [shot(seed) for seed in range(3)]
    together = generated(shots, pipelines, tmp_path / "a", batch_size=3)
    backwards = generated(shots[::-1], pipelines, tmp_path / "b", batch_size=2)[::-1]
    alone = generated(shots, pipelines, tmp_path / "c", batch_size=1)
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert abs(one - two).max() <= 1
        assert abs(one - three).max() <= 1
    assert abs(together[0] - together[1]).max() > 10


def test_scale_zero(pipelines: Pipelines, base: Base, compute: Compute, tmp_path: Path) -> None:
    """Scale 0 gives the untouched base's image bit for bit; scale 1 does not."""
    zero, one = generated([shot(lora_scale=0.0), shot()], pipelines, tmp_path / "lora")
    (untouched,) = generated([shot(lora_scale=0.0)], Pipelines(base, compute), tmp_path / "base")
    assert (zero == untouched).all()
    assert (one != untouched).any()


def test_image_to_image(pipelines: Pipelines, sources: Path, tmp_path: Path) -> None:
    """A low strength stays closer to the source than a high one."""
    shots = [shot(source="a.png", strength=strength, gallery="strength") for strength in (0.5, 1.0)]
    low, high = generated(shots, pipelines, tmp_path, sources=sources)
    assert low.shape == high.shape == (64, 64, 3)
    assert (low != high).any()


def test_memo(pipelines: Pipelines, tmp_path: Path) -> None:
    """What was generated before is not generated again; one changed prompt generates one image."""
    shots = [shot(seed) for seed in range(3)]
    generated(shots, pipelines, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    generated([*shots, shot(prompt="other")], pipelines, tmp_path)
    after = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_key(pipelines: Pipelines) -> None:
    """Labels do not change an image's key, everything else does; the base's images outlive a new LoRA."""
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


def test_a_lora_trained_for_v_is_sampled_with_v(base: Base, compute: Compute, lora_file: Path, tmp_path: Path) -> None:
    """The file says what the UNet was trained to predict: base and LoRA are sampled so, old images not reused."""
    v_file = tmp_path / "v.safetensors"
    save_file(load_file(lora_file), v_file, {**metadata_of(lora_file), "modelspec.prediction_type": "v"})
    plain, other = Pipelines(base, compute), Pipelines(base, compute)
    plain.load_lora(lora_file)
    other.load_lora(v_file)
    assert plain.text_to_image.scheduler.config.prediction_type == "epsilon"
    assert {
        other.text_to_image.scheduler.config.prediction_type,
        other.image_to_image.scheduler.config.prediction_type,
    } == {"v_prediction"}
    assert plain.identity.sampler != other.identity.sampler


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}


def test_a_source_is_what_a_viewer_shows_of_it(tmp_path: Path) -> None:
    """A turned photo stands upright, and what is transparent is white: the pipeline sees what its owner sees."""
    photo = Image.new("RGB", (40, 20), "blue")
    photo.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    red, blue = (read_source(tmp_path / "turned.jpg", 8).getpixel((4, y)) for y in (1, 6))
    assert red[0] - red[2] > 200
    assert blue[2] - blue[0] > 200
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_source(tmp_path / "clear.png", 8).getcolors() == [(64, (255, 255, 255))]

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anime_lora.config.section import Base, Compute
from anime_lora.sampling.generate import draw, picture_key
from anime_lora.sampling.pipelines import Artist
from anime_lora.sampling.suite import Shot


@pytest.fixture
def artist(base: Base, compute: Compute, lora_file: Path) -> Artist:
    made = Artist(base, compute)
    made.load(lora_file, label="myStyle")
    return made


def shot(seed: int = 1, **changes: object) -> Shot:
    plain = Shot(
        "trigger", "lora-trigger", "girl", "myStyle face girl", "", seed, steps=2, guidance=5.0, lora_scale=1.0
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file), dtype=int)


def drawn(
    shots: list[Shot], artist: Artist, memo: Path, batch_size: int = 4, sources: Path | None = None
) -> list[np.ndarray]:
    files = draw(shots, artist, memo, sources=sources, batch_size=batch_size, told=lambda _: None)
    return [pixels(files[one]) for one in shots]


def test_batch_and_order(artist: Artist, tmp_path: Path) -> None:
    """A picture depends on its prompt and seed, not on its batch or its place in it (1/255 at most)."""
    shots = [shot(seed) for seed in range(3)]
    together = drawn(shots, artist, tmp_path / "a", batch_size=3)
    backwards = drawn(shots[::-1], artist, tmp_path / "b", batch_size=2)[::-1]
    alone = drawn(shots, artist, tmp_path / "c", batch_size=1)
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert abs(one - two).max() <= 1
        assert abs(one - three).max() <= 1
    assert abs(together[0] - together[1]).max() > 10


def test_scale_zero(artist: Artist, base: Base, compute: Compute, tmp_path: Path) -> None:
    """Scale 0 gives the untouched base's picture bit for bit; scale 1 does not."""
    zero, one = drawn([shot(lora_scale=0.0), shot()], artist, tmp_path / "lora")
    (untouched,) = drawn([shot(lora_scale=0.0)], Artist(base, compute), tmp_path / "base")
    assert (zero == untouched).all()
    assert (one != untouched).any()


def test_image_to_image(artist: Artist, sources: Path, tmp_path: Path) -> None:
    """A low strength stays closer to the source than a high one."""
    shots = [shot(source="a.png", strength=strength, gallery="strength") for strength in (0.5, 1.0)]
    low, high = drawn(shots, artist, tmp_path, sources=sources)
    assert low.shape == high.shape == (64, 64, 3)
    assert (low != high).any()


def test_memo(artist: Artist, tmp_path: Path) -> None:
    """What was drawn before is not drawn again; one changed prompt draws one picture."""
    shots = [shot(seed) for seed in range(3)]
    drawn(shots, artist, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    drawn([*shots, shot(prompt="other")], artist, tmp_path)
    after = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_key(artist: Artist) -> None:
    """Labels do not change a picture's key, everything else does; the base's pictures outlive a new LoRA."""
    key = picture_key(shot(), artist, None)
    assert picture_key(shot(gallery="scale", arm="lora", ordinal=3), artist, None) == key
    changes = [
        {"seed": 2},
        {"prompt": "x"},
        {"negative_prompt": "x"},
        {"steps": 3},
        {"guidance": 1.0},
        {"lora_scale": 0.5},
    ]
    assert len({key, *(picture_key(shot(**change), artist, None) for change in changes)}) == len(changes) + 1
    base_key = picture_key(shot(lora_scale=0.0), artist, None)
    artist.adapters["style"] = "another"
    assert picture_key(shot(lora_scale=0.0), artist, None) == base_key
    assert picture_key(shot(), artist, None) != key


def test_parameters(artist: Artist, tmp_path: Path) -> None:
    """The PNG carries what a web UI needs to draw it again."""
    one = shot(negative_prompt="blurry")
    drawn([one], artist, tmp_path)
    (file,) = tmp_path.rglob("*.png")
    text = Image.open(file).text["parameters"]
    assert text.splitlines()[:2] == ["myStyle face girl <lora:myStyle:1>", "Negative prompt: blurry"]
    assert "Steps: 2, Sampler: DDIM, CFG scale: 5, Seed: 1, Size: 64x64" in text


def test_a_lora_trained_for_v_is_drawn_with_v(base: Base, compute: Compute, lora_file: Path, tmp_path: Path) -> None:
    """The file says what the UNet was trained to predict: base and LoRA are sampled so, old pictures not reused."""
    told = tmp_path / "v.safetensors"
    save_file(load_file(lora_file), told, {**metadata_of(lora_file), "modelspec.prediction_type": "v"})
    plain, other = Artist(base, compute), Artist(base, compute)
    plain.load(lora_file)
    other.load(told)
    assert plain.text.scheduler.config.prediction_type == "epsilon"
    assert {other.text.scheduler.config.prediction_type, other.image.scheduler.config.prediction_type} == {
        "v_prediction"
    }
    assert plain.identity["sampler"] != other.identity["sampler"]


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}

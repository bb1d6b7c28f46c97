import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import ControlNetModel
from PIL import Image, ImageDraw

from anime_lora.config.section import Base, Compute
from anime_lora.errors import SamplingError
from anime_lora.sampling.controlnet import canny_edges
from anime_lora.sampling.generate import generate, image_key
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.suite import Shot

PERSON = Path(__file__).parents[2] / "data/samples/people/01.png"
PLAIN = Shot("strength", "lora", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")
CONTROLLED = Shot("strength", "control", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")


@pytest.fixture
def with_controlnet(base: Base, compute: Compute, lora_file: Path, controlnet: Path) -> Pipelines:
    loaded = Pipelines(base, compute, str(controlnet))
    loaded.load_lora(lora_file, label="myStyle")
    return loaded


def test_edges_lie_where_colour_jumps() -> None:
    """A square has its outline, one pixel wide, and a flat image none."""
    image = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill="white")
    lines = np.asarray(canny_edges(image))[..., 0]
    assert set(np.unique(lines)) == {0, 255}
    assert (lines[32] > 0).sum() == 2
    assert not lines[:14].any()
    assert not lines[24:40, 24:40].any()
    assert not np.asarray(canny_edges(Image.new("RGB", (32, 32), "red"))).any()


def test_edges_are_found_between_colours_of_one_brightness() -> None:
    """Hair beside skin as dark as it: a detector on grey values would see nothing."""
    image = Image.new("RGB", (64, 64), (200, 0, 0))
    ImageDraw.Draw(image).rectangle((32, 0, 63, 63), fill=(0, 102, 0))
    assert np.ptp(np.asarray(image.convert("L"))) <= 1
    assert (np.asarray(canny_edges(image))[32, :, 0] > 0).sum() == 1


def test_edges_of_a_face_follow_its_outlines() -> None:
    """On a rendered person: thin lines where the image changes most, and none on the plain background."""
    image = Image.open(PERSON).convert("RGB")
    edges = np.asarray(canny_edges(image))
    assert edges.shape == np.asarray(image).shape
    lines = edges[..., 0] > 0
    steepness = np.hypot(*np.gradient(np.asarray(image.convert("L"), float)))
    assert 0.01 < lines.mean() < 0.1
    assert steepness[lines].mean() > 5 * steepness.mean()
    assert not lines[:12, :12].any()


def test_a_controlnet_changes_the_image_and_follows_the_source(
    with_controlnet: Pipelines, sources: Path, tmp_path: Path
) -> None:
    """Same noise with and without it differ; at strength 1, where only the edges tell, two sources differ too."""
    other = Shot("strength", "control", "b", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="b.png")
    files = generate(
        [PLAIN, CONTROLLED, other], with_controlnet, tmp_path, sources=sources, batch_size=4, on_progress=lambda _: None
    )
    plain, controlled, elsewhere = (np.asarray(Image.open(files[one])) for one in (PLAIN, CONTROLLED, other))
    assert plain.shape == controlled.shape == (64, 64, 3)
    assert (plain != controlled).any()
    assert (controlled != elsewhere).any()


def test_only_controlled_images_depend_on_the_controlnet(with_controlnet: Pipelines, pipelines: Pipelines) -> None:
    """An image generated without it keeps its key when a ControlNet comes; one generated with it names the weights."""
    assert image_key(PLAIN, with_controlnet, "s") == image_key(PLAIN, pipelines, "s")
    key = image_key(CONTROLLED, with_controlnet, "s")
    with_controlnet.controlnet_identity = "another"
    assert image_key(CONTROLLED, with_controlnet, "s") != key != image_key(PLAIN, with_controlnet, "s")


def test_a_controlnet_that_does_not_fit_is_one_clear_error(
    base: Base, compute: Compute, controlnet: Path, tmp_path: Path
) -> None:
    """Missing, damaged, or of another base."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    wide = ControlNetModel.from_config(
        {**json.loads((controlnet / "config.json").read_text()), "cross_attention_dim": 48}
    )
    wide.save_pretrained(tmp_path / "wide")
    for name, words in (
        ("nowhere", "cannot be loaded"),
        ("broken", "cannot be loaded"),
        ("wide", "cross_attention_dim"),
    ):
        with pytest.raises(SamplingError, match=words):
            Pipelines(base, compute, str(tmp_path / name))

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import ControlNetModel
from PIL import Image, ImageDraw

from anime_lora.config.section import Base, Compute
from anime_lora.errors import SamplingError
from anime_lora.sampling.controlnet import add_controlnet, edges
from anime_lora.sampling.generate import generate, image_key
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.suite import Shot

PLAIN = Shot("strength", "lora", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")
GUIDED = Shot("strength", "control", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")


@pytest.fixture
def pipelines(base: Base, compute: Compute, lora_file: Path) -> Pipelines:
    made = Pipelines(base, compute)
    made.load(lora_file, label="myStyle")
    return made


def test_edges_lie_where_brightness_jumps() -> None:
    """A square has its outline, one pixel wide, and a flat image none."""
    image = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill="white")
    lines = np.asarray(edges(image))[..., 0]
    assert set(np.unique(lines)) == {0, 255}
    assert (lines[32] > 0).sum() == 2
    assert not lines[:14].any()
    assert not lines[24:40, 24:40].any()
    assert not np.asarray(edges(Image.new("RGB", (32, 32), "red"))).any()


def test_a_controlnet_changes_the_image_and_follows_the_source(
    pipelines: Pipelines, controlnet: Path, sources: Path, tmp_path: Path
) -> None:
    """Same noise with and without it differ; at strength 1, where only the edges tell, two sources differ too."""
    add_controlnet(pipelines, str(controlnet))
    other = Shot("strength", "control", "b", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="b.png")
    files = generate(
        [PLAIN, GUIDED, other], pipelines, tmp_path, sources=sources, batch_size=4, on_progress=lambda _: None
    )
    plain, guided, elsewhere = (np.asarray(Image.open(files[one])) for one in (PLAIN, GUIDED, other))
    assert plain.shape == guided.shape == (64, 64, 3)
    assert (plain != guided).any()
    assert (guided != elsewhere).any()


def test_only_guided_images_depend_on_the_controlnet(pipelines: Pipelines, controlnet: Path) -> None:
    """An image generated without it keeps its key when a ControlNet comes; one generated with it names the weights."""
    before = image_key(PLAIN, pipelines, "s")
    add_controlnet(pipelines, str(controlnet))
    assert image_key(PLAIN, pipelines, "s") == before
    key = image_key(GUIDED, pipelines, "s")
    pipelines.control_mark = "another"
    assert image_key(GUIDED, pipelines, "s") != key != before


def test_a_controlnet_that_does_not_fit_is_one_clear_error(
    pipelines: Pipelines, controlnet: Path, tmp_path: Path
) -> None:
    """Missing, damaged, or of another base."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    wide = ControlNetModel.from_config(
        {**json.loads((controlnet / "config.json").read_text()), "cross_attention_dim": 32}
    )
    wide.save_pretrained(tmp_path / "wide")
    for name, words in (
        ("nowhere", "cannot be loaded"),
        ("broken", "cannot be loaded"),
        ("wide", "cross_attention_dim"),
    ):
        with pytest.raises(SamplingError, match=words):
            add_controlnet(pipelines, str(tmp_path / name))
    assert pipelines.control is None

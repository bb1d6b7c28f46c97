import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import ControlNetModel
from PIL import Image, ImageDraw

from anime_lora.config.section import Base, Compute
from anime_lora.errors import SamplingError
from anime_lora.sampling.controlnet import edges, guide
from anime_lora.sampling.generate import draw, picture_key
from anime_lora.sampling.pipelines import Artist
from anime_lora.sampling.suite import Shot

PLAIN = Shot("strength", "lora", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")
GUIDED = Shot("strength", "control", "a", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="a.png")


@pytest.fixture
def artist(base: Base, compute: Compute, lora_file: Path) -> Artist:
    made = Artist(base, compute)
    made.load(lora_file, label="myStyle")
    return made


def test_edges_lie_where_brightness_jumps() -> None:
    """A square has its outline, one pixel wide, and a flat picture none."""
    picture = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(picture).rectangle((16, 16, 47, 47), fill="white")
    lines = np.asarray(edges(picture))[..., 0]
    assert set(np.unique(lines)) == {0, 255}
    assert (lines[32] > 0).sum() == 2
    assert not lines[:14].any()
    assert not lines[24:40, 24:40].any()
    assert not np.asarray(edges(Image.new("RGB", (32, 32), "red"))).any()


def test_a_controlnet_changes_the_picture_and_follows_the_source(
    artist: Artist, controlnet: Path, sources: Path, tmp_path: Path
) -> None:
    """Same noise with and without it differ; at strength 1, where only the edges tell, two sources differ too."""
    guide(artist, str(controlnet))
    other = Shot("strength", "control", "b", "girl", "", 1, 2, 5.0, lora_scale=1.0, strength=1.0, source="b.png")
    files = draw([PLAIN, GUIDED, other], artist, tmp_path, sources=sources, batch_size=4, told=lambda _: None)
    plain, guided, elsewhere = (np.asarray(Image.open(files[one])) for one in (PLAIN, GUIDED, other))
    assert plain.shape == guided.shape == (64, 64, 3)
    assert (plain != guided).any()
    assert (guided != elsewhere).any()


def test_only_guided_pictures_depend_on_the_controlnet(artist: Artist, controlnet: Path) -> None:
    """A picture drawn without it keeps its key when a ControlNet comes; one drawn with it names the weights."""
    before = picture_key(PLAIN, artist, "s")
    guide(artist, str(controlnet))
    assert picture_key(PLAIN, artist, "s") == before
    key = picture_key(GUIDED, artist, "s")
    artist.control_mark = "another"
    assert picture_key(GUIDED, artist, "s") != key != before


def test_a_controlnet_that_does_not_fit_is_one_clear_error(artist: Artist, controlnet: Path, tmp_path: Path) -> None:
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
            guide(artist, str(tmp_path / name))
    assert artist.control is None

"""Training within given minutes, on a CPU and with tiny shapes: what is learned, saved, taken up again, published."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image
from typer.testing import CliRunner

from pocket.__main__ import app
from pocket.training.gpu import PHASES, GpuTraining
from pocket.training.live_corpus import SIDE
from tests.pocket.training.tiny import BASE_FOLDER, TINY, tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What six seconds of training leave."""
    out = tmp_path_factory.mktemp("trained")
    GpuTraining(tiny_recipe(), TINY, BASE_FOLDER, out, "cpu").run(0.1)
    return out


def test_every_phase_leaves_its_model_and_previews(trained: Path) -> None:
    """Autoencoder, base and ControlNet lie in folders of their own; no renderer is left."""
    assert {folder.name for folder in trained.iterdir()} == {*PHASES, "previews"}
    for sheet in (trained / "previews").iterdir():
        with Image.open(sheet) as image:
            assert image.size == (8 * SIDE, 2 * SIDE)
    assert {sheet.name for sheet in (trained / "previews").iterdir()} == {"autoencoder-00000.png", "base-00000.png"}
    assert not multiprocessing.active_children()


def test_the_published_folders_are_what_diffusers_loads(trained: Path, tmp_path: Path) -> None:
    """Plain pipelines load the published base and ControlNet and generate; the weights are those that were trained."""
    result = CliRunner().invoke(app, ["publish", str(trained), "--out", str(tmp_path / "base")])
    assert result.exit_code == 0, result.output
    configs = list((tmp_path / "base").rglob("config.json"))
    assert len(configs) == 4
    assert not any(str(tmp_path.parent) in file.read_text() for file in configs), "no path of this machine"
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "base/pocket", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe("girl", num_inference_steps=1).images[0].size == (SIDE, SIDE)
    source = StableDiffusionPipeline.from_pretrained(trained / "base", dtype=torch.float32)
    for part in ("unet", "vae", "text_encoder"):
        published = getattr(pipe, part).state_dict()
        assert all(torch.equal(value, published[name]) for name, value in getattr(source, part).state_dict().items())
    net = ControlNetModel.from_pretrained(tmp_path / "base/pocket-controlnet", dtype=torch.float32)
    control = StableDiffusionControlNetPipeline(**pipe.components, controlnet=net, requires_safety_checker=False)
    control.set_progress_bar_config(disable=True)
    condition = Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert control("girl", image=condition, num_inference_steps=1).images[0].size == (SIDE, SIDE)


def test_a_second_call_keeps_what_is_there(trained: Path) -> None:
    """Only the phase that is missing is trained, on the base that was saved, and it gets all the minutes."""
    weights = {name: next((trained / name).rglob("*.safetensors")) for name in ("autoencoder", "base")}
    before = {name: file.read_bytes() for name, file in weights.items()}
    (trained / "controlnet").rename(trained.parent / "first controlnet")
    training = GpuTraining(tiny_recipe(), TINY, BASE_FOLDER, trained, "cpu")
    assert training._ends(["controlnet"], 100.0, 60.0) == {"controlnet": pytest.approx(100 + 0.955 * 60)}
    training.run(0.1)
    assert {name: file.read_bytes() for name, file in weights.items()} == before
    assert (trained / "controlnet/config.json").is_file()

"""The base that comes with the repository: the command and plain diffusers, loaded as their pages say, agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from anime_lora.config.load import load_params
from anime_lora.generation.generate import generate
from anime_lora.generation.request import Options
from tests.support.tiny import ROOT

PROMPT = "myAnimeStyleToken anime_face girl, red hair"
BASE = ROOT / "data/base/pocket"


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rank-2 LoRA with random weights for the base, as training saves it."""
    unet = UNet2DConditionModel.from_pretrained(BASE, subfolder="unet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(r=2, lora_alpha=1, target_modules=["to_q", "to_v"], init_lora_weights=False)
        unet.add_adapter(config)
    folder = tmp_path_factory.mktemp("lora")
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(unet), unet_lora_adapter_metadata=config.to_dict()
    )
    return folder / "pytorch_lora_weights.safetensors"


@pytest.mark.parametrize("with_source", [False, True])
def test_plain_diffusers_gives_the_same_pixels(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_source: bool
) -> None:
    """Without a dtype; channels_last is the one setting that changes last digits."""
    monkeypatch.chdir(ROOT)
    params = load_params(Path("params.yaml"))
    source = Path("data/samples/people/01.png")
    pipeline = StableDiffusionImg2ImgPipeline if with_source else StableDiffusionPipeline
    pipe = pipeline.from_pretrained(BASE)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    pipe.load_lora_weights(lora.parent, weight_name=lora.name)
    side = params.base.resolution
    how = {"num_inference_steps": 4, "guidance_scale": 6.0, "generator": torch.Generator().manual_seed(5)}
    if with_source:
        how |= {
            "image": Image.open(source).convert("RGB").resize((side, side), Image.Resampling.LANCZOS),
            "strength": 0.5,
        }
    image = pipe(PROMPT, **how).images[0]
    asked = Options((PROMPT,), seeds=("5",), steps="4", guidance="6", loras=(str(lora),), out=tmp_path)
    if with_source:
        asked = Options(**{**vars(asked), "source": source, "strength": "0.5"})
    (file,) = generate(asked, params)
    assert (np.asarray(Image.open(file)) == np.asarray(image)).all()

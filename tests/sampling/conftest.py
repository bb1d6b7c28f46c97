"""The tiny Stable Diffusion as a folder, a LoRA and a ControlNet for it, and sources."""

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from anime_lora.config.section import Base, Compute
from anime_lora.sampling.pipelines import Pipelines
from tests.support.tiny import SIDE, tiny_pipeline


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline on the disk, with the sampler that anime bases come with."""
    folder = tmp_path_factory.mktemp("base") / "pipeline"
    with torch.random.fork_rng():
        pipeline = tiny_pipeline()
    pipeline.scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def lora_file(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rank-2 LoRA with large random weights, as training saves it."""
    unet = UNet2DConditionModel.from_pretrained(base_folder, subfolder="unet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(
            r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False
        )
        unet.add_adapter(config)
    folder = tmp_path_factory.mktemp("lora")
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(unet), unet_lora_adapter_metadata=config.to_dict()
    )
    return folder / "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="session")
def controlnet(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet of the tiny base that really changes the image: random weights, its zero convolutions too."""
    unet = UNet2DConditionModel.from_pretrained(base_folder, subfolder="unet")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8))
        for block in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
            torch.nn.init.normal_(block.weight, std=0.3)
    folder = tmp_path_factory.mktemp("controlnet")
    net.save_pretrained(folder)
    return folder


@pytest.fixture
def base(base_folder: Path) -> Base:
    return Base(model=str(base_folder), revision=None, resolution=SIDE)


@pytest.fixture
def compute() -> Compute:
    return Compute(device="cpu", workers=1, dask_address=None, processes=1)


@pytest.fixture
def pipelines(base: Base, compute: Compute, lora_file: Path) -> Pipelines:
    """The base with the LoRA, at weight 0."""
    loaded = Pipelines(base, compute)
    loaded.load_lora(lora_file, label="myStyle")
    return loaded


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two source images of different sizes."""
    folder = tmp_path_factory.mktemp("sources")
    Image.linear_gradient("L").convert("RGB").resize((40, 60)).save(folder / "a.png")
    Image.radial_gradient("L").convert("RGB").resize((80, 50)).save(folder / "b.png")
    return folder

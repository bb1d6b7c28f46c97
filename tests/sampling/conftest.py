"""A real Stable Diffusion folder of a few thousand weights, and a LoRA for it."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from anime_lora.config.section import Base, Compute
from anime_lora.sampling.pipelines import Pipelines

SIZE = 64


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with the layout of SD 1.5: 64 px, VAE factor 4, random weights."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(),
            tokenizer=_tokenizer(folder),
            unet=_unet(),
            scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIZE,
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def _text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=516, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=514, eos_token_id=515, pad_token_id=515,
    )  # fmt: skip
    return CLIPTextModel(config)


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"<unused{n}>" for n in range(514 - len(words))] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


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
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8))
        for block in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
            torch.nn.init.normal_(block.weight, std=0.3)
    folder = tmp_path_factory.mktemp("controlnet")
    net.save_pretrained(folder)
    return folder


@pytest.fixture
def base(base_folder: Path) -> Base:
    return Base(model=str(base_folder), revision=None, resolution=SIZE)


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

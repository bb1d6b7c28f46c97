"""What the benchmarks run on: the pocket base, Stable Diffusion 1.5's shapes with random weights, sample images."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.files import sha256_file
from anime_lora.training.batch import TrainingImage

POCKET = Path("data/base/pocket")
SAMPLES = Path("data/samples/anime")


def sd15(folder: Path) -> Path:
    """A diffusers folder with SD 1.5's shapes and random weights, unless it is there; the pocket base's tokenizer."""
    if (folder / "model_index.json").is_file():
        return folder
    tokenizer = load_pipeline(POCKET, torch.float32).tokenizer
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    blocks = {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 512,
    }
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **blocks
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    parts = {
        "vae": vae,
        "text_encoder": CLIPTextModel(text),
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": scheduler,
    }
    StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


def read(count: int, side: int, folder: Path) -> list[TrainingImage]:
    """`count` of the sample images at `side` pixels, as an organized dataset has them."""
    images = []
    for source in sorted(SAMPLES.glob("*.png"))[:count]:
        path = folder / source.name
        with Image.open(source) as image:
            resized = image.convert("RGB").resize((side, side))
        if not path.is_file():
            resized.save(path)
        text = source.with_suffix(".txt").read_text(encoding="utf-8").strip()
        images.append(
            TrainingImage(
                id=sha256_file(path),
                path=path,
                text=text,
                split="train",
                pixel_sha256=sha256_file(path),
                name=source.name,
            )
        )
    return images

"""The trained pocket models as folders that diffusers and transformers load: whole or absent, fp16 safetensors."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from anime_lora.files import fresh_folder
from pocket.models import shapes
from pocket.models.tokenizer import save_tokenizer
from pocket.training.diffusion import Diffusion
from pocket.training.previews import pipeline
from pocket.training.scorer import MEAN, STD

NAMES = ("*.json", "merges.txt", "model.safetensors", "diffusion_pytorch_model.safetensors")
WRITES = (*NAMES, *(f"*/{name}" for name in NAMES))
"""What diffusers and transformers save, in the folder and in one for each part."""


def publish_base(folder: Path, vae: AutoencoderKL, diffusion: Diffusion) -> None:
    """Write the Stable Diffusion folder; the models are half precision afterwards."""
    with fresh_folder(folder, WRITES) as beside:
        pipeline(vae, diffusion).to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True)
        _finish(beside, beside / "tokenizer", diffusion.tokenizer)


def publish_vae(folder: Path, vae: AutoencoderKL) -> None:
    """Write the autoencoder alone; it is half precision afterwards."""
    with fresh_folder(folder, WRITES) as beside:
        vae.to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True)
        _readable(beside)


def publish_scorer(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """Write the CLIP folder with its processor; the model is half precision afterwards."""
    side = shapes.SCORER_SIDE
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    with fresh_folder(folder, WRITES) as beside:
        model.to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True)
        CLIPProcessor(images, tokenizer).save_pretrained(beside)
        _finish(beside, beside, tokenizer)


def _finish(folder: Path, place: Path, tokenizer: CLIPTokenizer) -> None:
    save_tokenizer(tokenizer, place)
    _readable(folder)


def _readable(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)

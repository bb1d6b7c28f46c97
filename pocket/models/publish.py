"""The pocket models as folders that diffusers and transformers load: whole or absent, fp16 safetensors."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DiffusionPipeline, StableDiffusionPipeline
from diffusers.models.modeling_utils import ModelMixin
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from anime_lora.files import fresh_folder, write_json
from pocket.models import shapes
from pocket.models.tokenizer import save_tokenizer
from pocket.training.diffusion import Diffusion
from pocket.training.previews import pipeline
from pocket.training.scorer import MEAN, STD

NAMES = ("*.json", "merges.txt", "model.safetensors", "diffusion_pytorch_model.safetensors")
WRITES = (*NAMES, *(f"*/{name}" for name in NAMES))
"""What diffusers and transformers save, in the folder and in one for each part."""
SHARDED = ("*.safetensors", "*.json", "merges.txt")
LARGEST_FILE = "14MB"
"""Of what `train-gpu` saves: results have to come back from machines that pass on small files only."""


def publish_base(folder: Path, vae: AutoencoderKL, diffusion: Diffusion) -> None:
    """Write the Stable Diffusion folder; the models are half precision afterwards."""
    with fresh_folder(folder, WRITES) as beside:
        pipeline(vae, diffusion).to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True)
        _load_as_fp32(beside / "text_encoder" / "config.json")
        _finish(beside, beside / "tokenizer", diffusion.tokenizer)


def publish_vae(folder: Path, vae: AutoencoderKL) -> None:
    """Write the autoencoder alone; it is half precision afterwards."""
    with fresh_folder(folder, WRITES) as beside:
        vae.to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True)
        _readable(beside)


def save_sharded(folder: Path, part: ModelMixin | DiffusionPipeline) -> None:
    """Write a model or pipeline as files of at most `LARGEST_FILE`, which diffusers reads as one.

    It is single precision afterwards, its weights rounded to what was written.
    """
    with fresh_folder(folder, (*SHARDED, *(f"*/{name}" for name in SHARDED))) as beside:
        part.to(dtype=torch.float16).save_pretrained(beside, safe_serialization=True, max_shard_size=LARGEST_FILE)
        _readable(beside)
    part.to(dtype=torch.float32)


def publish_trained(folder: Path, out: Path) -> None:
    """Publish what `train-gpu` saved in `folder`: `pocket` and, where it was trained, `pocket-controlnet`."""
    pipe = StableDiffusionPipeline.from_pretrained(folder / "base", dtype=torch.float16)
    prediction = pipe.scheduler.config.prediction_type
    publish_base(out / "pocket", pipe.vae, Diffusion(pipe.tokenizer, pipe.unet, pipe.text_encoder, prediction))
    if (folder / "controlnet").is_dir():
        net = ControlNetModel.from_pretrained(folder / "controlnet", dtype=torch.float16)
        with fresh_folder(out / "pocket-controlnet", WRITES) as beside:
            net.save_pretrained(beside, safe_serialization=True)
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


def _load_as_fp32(config: Path) -> None:
    """Let transformers load fp16 files in fp32 unless asked otherwise, as diffusers loads the parts beside them."""
    # transformers 5 takes the dtype from the config, diffusers fp32: a pipeline of both dtypes cannot run
    values = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {**values, "dtype": "float32"})


def _finish(folder: Path, place: Path, tokenizer: CLIPTokenizer) -> None:
    save_tokenizer(tokenizer, place)
    _readable(folder)


def _readable(folder: Path) -> None:
    """Let everybody read the weights, and have no config say where on this machine they were loaded from."""
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)
    for file in folder.rglob("config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            write_json(file, config)

"""A tiny random Stable Diffusion in the real layout, a synthetic dataset, and a trainer on both."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from anime_lora.config.load import read_document, with_prompts
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion import device
from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.files import write_jsonl
from anime_lora.training.batch import Batch, read_images
from anime_lora.training.latent_cache import LatentCache
from anime_lora.training.prior_preservation import class_images, class_prompts
from anime_lora.training.processes import Stop
from anime_lora.training.stage import train
from anime_lora.training.trainer import Trainer, prepare_pipeline
from anime_lora.training.validation import Sampler

ROOT = Path(__file__).parents[2]
SIDE = 64


def byte_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer with no merges: every byte is a token."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    spare = [256 + i for i in range(256 - len(kept))]
    letters = [chr(code) for code in kept + spare]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def tiny_pipeline() -> StableDiffusionPipeline:
    """Random weights from a fixed seed; 64 px images, latents 4x8x8."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    )
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    parts = {"vae": vae, "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer, "unet": unet}
    none: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(scheduler=scheduler, **parts, **none)


def write_dataset(folder: Path, count: int = 6, holdout: int = 2) -> Path:
    """An organized dataset of `count` training and `holdout` held-out images of coloured squares."""
    rows = []
    for i in range(count + holdout):
        random = np.random.default_rng(i)
        pixels = np.full((SIDE, SIDE, 3), random.integers(0, 255, 3), np.uint8)
        pixels[16:48, 16:48] = random.integers(0, 255, 3)
        name = hashlib.sha256(bytes([i])).hexdigest()
        file = folder / "t_c" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        rows.append(
            {
                "file_name": file.name,
                "file": f"t_c/{file.name}",
                "text": f"t c, colour {i}, square",
                "id": name,
                "split": "holdout" if i >= count else "train",
                "cluster": name,
                "pixel_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
                "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
        )
    write_jsonl(folder / "metadata.jsonl", sorted(rows, key=lambda row: str(row["file_name"])))
    return folder


def train_settings(**changes: Any) -> Train:
    """The project's own `train` section, small enough for the tiny base."""
    small = {
        "prior_images": 0,
        "prior_share": 1.0,
        "rank": 2,
        "alpha": 4.0,
        "epochs": 2,
        "batch_size": 2,
        "validation_images": 1,
        "validation_steps": 2,
    }
    values = {**with_prompts(read_document(ROOT / "params.yaml"))["train"], **small, "heldout_images": 2, **changes}
    return Train.model_validate_json(json.dumps(values))


CONCEPT = Concept(trigger="t", class_name="c", instance_prompt="t c portrait")
COMPUTE = Compute(device="cpu", workers=1, dask_address=None, processes=1)


def make_trainer(base: Path, dataset: Path, folder: Path, **changes: Any) -> Trainer:
    """A trainer on the tiny base, with class images where `prior_images` asks for some."""
    settings, stop = train_settings(**changes), Stop()
    accelerator = device.new_accelerator(settings, "cpu")
    pipe = load_pipeline(base, device.DTYPES[settings.precision])
    latents = LatentCache(folder / "latents", pipe.vae, SIDE)
    prepare_pipeline(pipe, settings, accelerator.device)
    images = read_images(dataset)
    prompts = class_prompts(settings, CONCEPT, images)
    images += class_images(Sampler(pipe, settings, accelerator, SIDE, stop), folder / "prior", prompts)
    names = {"folder": folder / "work", "fingerprint": "mark", "name": "t_c"}
    return Trainer(pipe, settings, accelerator, latents, images, **names, stop=stop)


def predict(trainer: Trainer, batch: Batch) -> torch.Tensor:
    """What the UNet predicts for a batch in fp32."""
    noisy = batch.noisy.contiguous(memory_format=torch.channels_last)
    conditioning = trainer.text_embeddings(batch.captions)
    return trainer.pipe.unet(noisy, batch.timesteps, conditioning, return_dict=False)[0]


def train_tiny(base: Path, dataset: Path, folder: Path, out: str = "train", **changes: Any) -> Path:
    """The whole stage with its work under `folder`; returns the output folder."""
    section = Base(model=str(base), revision=None, resolution=SIDE)
    train(train_settings(**changes), CONCEPT, section, COMPUTE, dataset, folder / out, folder / ".cache")
    return folder / out

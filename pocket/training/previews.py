"""Preview sheets: what a pocket model makes after every few hundred steps of its training."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image

from pocket.faces.character import sample_character
from pocket.faces.domains import DOMAINS, render
from pocket.models import shapes
from pocket.training.corpus import HELD_OUT
from pocket.training.diffusion import Diffusion
from pocket.training.fit import OnStep

PROMPTS = (
    "a photo of a girl with long blue hair, smiling, white background",
    "a photo of a boy with short red hair and green eyes, grey background",
    "a flat cartoon, girl, pink hair, sad, yellow background",
    "a pencil sketch of a man with short black hair wearing glasses",
    "ghibli style, girl, green hair, long hair, blue background",
    "retro 90s style, boy, blonde hair, surprised, purple background",
    "doll face, girl, purple hair, smiling, orange background",
    "myAnimeStyleToken anime_face girl, blue hair, high quality",
)
AVATAR_PROMPTS = (
    "open peeps style, red hair, smiling",
    "notionists style",
    "big ears style, blue hair",
    "toon head style, green hair, sad",
    "croodles doodle style",
    "an illustration, girl, red hair",
    "myAnimeStyleToken anime_face boy, glasses, high quality",
    "girl, red hair, high quality",
)
"""Of what only `train-gpu` learns from."""


def pipeline(vae: AutoencoderKL, diffusion: Diffusion) -> StableDiffusionPipeline:
    """The parts as one text-to-image pipeline."""
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=diffusion.text_encoder,
        tokenizer=diffusion.tokenizer,
        unet=diffusion.unet,
        scheduler=shapes.scheduler(diffusion.prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def autoencoder_preview(model: AutoencoderKL, folder: Path, name: str) -> OnStep:
    """A sheet of held-out images above what the autoencoder makes of them."""

    @torch.no_grad()
    def preview(step: int) -> None:
        real = [render(sample_character(HELD_OUT + i), domain, shapes.RESOLUTION) for i, domain in enumerate(DOMAINS)]
        inputs = torch.from_numpy(np.stack([np.asarray(each) for each in real])).permute(0, 3, 1, 2)
        inputs = (inputs.float() / 127.5 - 1).to(model.device)
        decoded = model.decode(model.encode(inputs).latent_dist.mean).sample
        values = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        save_sheet(folder / f"{name}-{step:05d}.png", [*real, *map(Image.fromarray, values)])

    return preview


def diffusion_preview(
    vae: AutoencoderKL, diffusion: Diffusion, folder: Path, prompts: tuple[str, ...] = PROMPTS
) -> OnStep:
    """A sheet of `prompts`, generated in 20 steps with guidance 7.5."""

    def preview(step: int) -> None:
        generators = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
        pipe = pipeline(vae.to(diffusion.unet.device), diffusion)
        images = pipe(list(prompts), num_inference_steps=20, guidance_scale=7.5, generator=generators).images
        save_sheet(folder / f"base-{step:05d}.png", images)

    return preview


def save_sheet(path: Path, images: list[Image.Image], columns: int = 8) -> None:
    """Save `images` of the base's resolution side by side."""
    side = shapes.RESOLUTION
    sheet = Image.new("RGB", (side * min(columns, len(images)), side * -(-len(images) // columns)))
    for place, image in enumerate(images):
        sheet.paste(image, (place % columns * side, place // columns * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)

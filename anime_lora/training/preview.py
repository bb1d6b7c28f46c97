"""Validation images while training: a short sampling of the adapter as it is, from seeds of its own."""

from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from anime_lora.files import write_bytes
from anime_lora.images import png_bytes
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import Run


def generate_strip(run: Run, path: Path, stop: Stop, trained: bool) -> list[Tensor]:
    """Generate the validation prompt for each seed and write the images side by side as one PNG; returns their latents.

    The PNG carries the `parameters` text that A1111 reads, for its first image: `trained`, with the adapter.
    """
    seeds = [run.settings.seed + i for i in range(run.settings.validation_images)]
    latents = [sample(run, run.settings.validation_prompt, seed, stop) for seed in seeds]
    images = [decode(run, latent) for latent in latents]
    height, width = images[0].height, images[0].width
    strip = Image.new("RGB", (width * len(images), height))
    for place, one in enumerate(images):
        strip.paste(one, (place * width, 0))
    asked = run.settings.validation_prompt + (f" <lora:{run.name}:1>" if trained else "")
    write_bytes(path, png_bytes(strip, parameters(run, asked, seeds[0])))
    return latents


def parameters(run: Run, prompt: str, seed: int) -> str:
    """Prompt and settings as A1111 writes them into its PNGs."""
    settings = run.settings
    size = run.batches.latents.size
    return (
        f"{prompt}\nSteps: {settings.validation_steps}, Sampler: DPM++ 2M, "
        f"CFG scale: {settings.validation_guidance}, Seed: {seed}, Size: {size}x{size}, RNG: CPU"
    )


@torch.no_grad()
def sample(run: Run, prompt: str, seed: int, stop: Stop) -> Tensor:
    """One latent, (C, h, w) on the CPU in the VAE's units, by DPM++ 2M with classifier-free guidance.

    The noise is torch's for `seed` on the CPU, as webuis'.
    """
    unet, settings, dtype = run.pipe.unet, run.settings, run.pipe.unet.dtype
    scheduler = DPMSolverMultistepScheduler.from_config(
        run.pipe.scheduler.config, prediction_type=run.batches.prediction
    )
    scheduler.set_timesteps(settings.validation_steps, device=run.accelerator.device)
    side = run.batches.latents.size // run.pipe.vae_scale_factor
    shape = (1, unet.config.in_channels, side, side)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(run.accelerator.device)
    x = x * scheduler.init_noise_sigma
    with run.precision():
        conditioning = run.batches.texts(["", prompt]).to(dtype)
    for t in scheduler.timesteps:
        if run.accelerator.num_processes == 1:
            stop.check()
        both = scheduler.scale_model_input(torch.cat([x, x]), t).to(dtype)
        with run.precision():
            without, asked = unet(both, t, conditioning, return_dict=False)[0].float().chunk(2)
        x = scheduler.step(without + settings.validation_guidance * (asked - without), t, x, return_dict=False)[0]
    found: Tensor = x[0].float().cpu() / run.batches.scaling
    return found


@torch.no_grad()
def decode(run: Run, latent: Tensor) -> Image.Image:
    """The image of one latent, as `sample` returns it."""
    image = run.pipe.vae.decode(latent[None].to(run.pipe.vae.device), return_dict=False)[0][0]
    values = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(values)

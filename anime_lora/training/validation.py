"""The end of an epoch: held-out loss, validation images and how far these are from the style.

No second model takes part in the style distance, so the epoch is not chosen by the encoder that evaluates it later.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from anime_lora.config.train import Train
from anime_lora.diffusion.device import autocast
from anime_lora.diffusion.rng import generator
from anime_lora.errors import TrainingError
from anime_lora.files import write_bytes
from anime_lora.images import a1111_parameters, png_bytes
from anime_lora.training.batch import Batch, BatchBuilder, TrainingImage, of_split, prediction_type
from anime_lora.training.processes import Stop, own_share, summed
from anime_lora.training.text_embeddings import TextEmbeddings

STRATA = 16
"""Timesteps per held-out image: the middle of as many equal parts of the schedule."""
CONTRAST_STEPS = (1, 2, 4)
"""Cells between two places of a latent whose difference counts as contrast."""


def strip_file(folder: Path, epoch: int) -> Path:
    """Where the validation images of an epoch lie, in the work folder and in the stage's output."""
    return folder / "samples" / f"epoch-{epoch:02d}.png"


@dataclass(frozen=True)
class EpochResult:
    """What was measured after an epoch, of the untrained base as epoch 0; None is not measured or not finite."""

    epoch: int
    step: int
    heldout: float | None
    """Mean loss of the held-out images: the same images, timesteps and noise in each epoch."""
    probe: float | None
    """Mean loss of as many training images."""
    gap: float | None
    """Held-out loss minus the probe's: it grows when the images are learned by heart."""
    each: list[float | None]
    """Loss of each held-out image."""
    style: float | None
    """Mean distance of the validation images from the held-out images' style; about 1 within it."""

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint and the record hold it."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "heldout": self.heldout,
            "probe": self.probe,
            "gap": self.gap,
            "each": self.each,
            "style": self.style,
        }

    def __str__(self) -> str:
        """The result in a line of the log."""
        if not self.each:
            return f"{self.step} steps, no held-out images"
        losses = {"held-out loss": self.heldout, "train probe": self.probe, "gap": self.gap}
        parts = [
            f"{name} {'not finite' if value is None else format(value, '+.5f' if name == 'gap' else '.5f')}"
            for name, value in losses.items()
        ]
        return ", ".join(parts) + ("" if self.style is None else f", style distance {self.style:.3f}")


class Sampler:
    """Generates images with the adapters as they are: a short sampling from seeds of its own."""

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        settings: Train,
        accelerator: Accelerator,
        resolution: int,
        stop: Stop,
    ) -> None:
        self.pipe, self.settings, self.accelerator = pipe, settings, accelerator
        self.resolution, self.stop = resolution, stop
        trained = settings.text_encoder_learning_rate is not None
        self.text_embeddings = TextEmbeddings(pipe.tokenizer, pipe.text_encoder, trained)
        self.prediction_type = prediction_type(settings, pipe)

    @torch.no_grad()
    def sample(self, prompt: str, seed: int) -> Tensor:
        """One latent, (C, h, w) on the CPU in the VAE's units, by DPM++ 2M with classifier-free guidance.

        The noise is torch's for `seed` on the CPU, as webuis'.
        """
        unet, settings, device = self.pipe.unet, self.settings, self.accelerator.device
        dtype = unet.dtype
        scheduler = DPMSolverMultistepScheduler.from_config(
            self.pipe.scheduler.config, prediction_type=self.prediction_type
        )
        scheduler.set_timesteps(settings.validation_steps, device=device)
        side = self.resolution // self.pipe.vae_scale_factor
        shape = (1, unet.config.in_channels, side, side)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
        x = x * scheduler.init_noise_sigma
        with autocast(self.accelerator, settings):
            conditioning = self.text_embeddings(["", prompt]).to(dtype)
        for t in scheduler.timesteps:
            if self.accelerator.num_processes == 1:  # several stop together, at the next step
                self.stop.check()
            both = scheduler.scale_model_input(torch.cat([x, x]), t).to(dtype)
            with autocast(self.accelerator, settings):
                plain, prompted = unet(both, t, conditioning, return_dict=False)[0].float().chunk(2)
            # Ho & Salimans 2022, eq. 6, with 1 + w as the scale
            guided = plain + settings.validation_guidance * (prompted - plain)
            x = scheduler.step(guided, t, x, return_dict=False)[0]
        latent: Tensor = x[0].float().cpu() / float(self.pipe.vae.config.scaling_factor)
        return latent

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Image.Image:
        """The image of one latent, as `sample` returns it."""
        vae = self.pipe.vae
        image = vae.decode(latent[None].to(vae.device), return_dict=False)[0][0]
        values = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(values)

    def parameters(self, prompt: str, seed: int, loras: Mapping[str, float] | None = None) -> str:
        """Prompt, LoRAs and settings as A1111 writes them into its PNGs."""
        settings: dict[str, str | float] = {
            "Steps": self.settings.validation_steps,
            "Sampler": "DPM++ 2M",
            "CFG scale": self.settings.validation_guidance,
            "Seed": seed,
            "Size": f"{self.resolution}x{self.resolution}",
            "RNG": "CPU",  # web UIs sample the noise on the GPU otherwise: another image
        }
        return a1111_parameters(prompt, settings, loras=loras)


def held_out_batch(batches: BatchBuilder, image: TrainingImage) -> Batch:
    """One image's latent mean at every stratum, each with noise that follows from (image, timestep); all weights 1."""
    mean = batches.posterior(image, False).mean  # not a sample: it would be noise in the comparison of epochs
    count = len(batches.alphas_cumprod)
    timesteps = ((torch.arange(STRATA) + 0.5) * count / STRATA).long()
    noise = torch.stack([torch.randn(mean.shape, generator=generator("held out", image.id, int(t))) for t in timesteps])
    latents = (mean * batches.scaling).expand(STRATA, *mean.shape)
    return batches.add_noise(latents, noise, timesteps, [image.captions[0]] * STRATA, torch.ones(STRATA))


def style_statistics(latent: Tensor) -> Tensor:
    """(8C,) per channel of a latent (C, h, w): mean, deviation, mean contrast across and down at `CONTRAST_STEPS`.

    Means and deviations of a convolution's channels carry style, not content (Huang & Belongie 2017).
    """
    z = latent.double()
    statistics = [z.mean((1, 2)), z.std((1, 2))]
    for step in CONTRAST_STEPS:
        statistics += [(z[:, :, step:] - z[:, :, :-step]).abs().mean((1, 2))]
        statistics += [(z[:, step:] - z[:, :-step]).abs().mean((1, 2))]
    return torch.cat(statistics)


def style_distances(generated: Sequence[Tensor], style: Sequence[Tensor]) -> list[float]:
    """Each generated latent's root mean square deviation from the style's latents, in their own standard deviations.

    An image of the style has about 1. Two latents of the style or more are needed.
    """
    reference = torch.stack([style_statistics(latent) for latent in style])
    middle, spread = reference.mean(0), reference.std(0).clamp(min=1e-6)
    return [float(((style_statistics(latent) - middle) / spread).square().mean().sqrt()) for latent in generated]


class Validator:
    """Measures an epoch on the held-out images; moves nothing that is trained, and no global generator.

    Args:
        sampler: generates the validation images.
        batches: builds the held-out batches, from cached latents.
        images: those to train on and those held out.
        folder: gets the strips of validation images.
        name: the file's name that a webui's prompt will call the adapter by.
    """

    def __init__(
        self, sampler: Sampler, batches: BatchBuilder, images: Sequence[TrainingImage], folder: Path, name: str
    ) -> None:
        self.sampler, self.batches, self.folder, self.name = sampler, batches, folder, name
        self.settings, self.accelerator, self.stop = sampler.settings, sampler.accelerator, sampler.stop
        self.images = of_split(images, "holdout") if self.settings.heldout_images else []
        self.held_out = self.images[: self.settings.heldout_images]
        self.probe = of_split(images, "train")[: len(self.held_out)]

    def validate(self, epoch: int, step: int, loss: Callable[[Batch], Tensor]) -> EpochResult:
        """The result of `epoch`, ended at `step`; `loss` gives each sample's, (n,). To be called in eval mode.

        Raises:
            StopRequestedError: a stop was requested meanwhile.
            TrainingError: the base alone has no finite held-out loss.
        """
        each, probe = (self._losses(images, loss) for images in (self.held_out, self.probe))
        if epoch == 0:
            self._check_base(each)
        latents: list[Tensor] = []
        if self.accelerator.is_main_process:
            latents = self.generate_strip(epoch)
        means = [sum(losses) / len(losses) if losses else math.nan for losses in (each, probe)]
        return EpochResult(
            epoch,
            step,
            heldout=_finite(means[0]),
            probe=_finite(means[1]),
            gap=_finite(means[0] - means[1]),
            each=[_finite(value) for value in each],
            style=self._style_distance(latents),
        )

    def _losses(self, images: list[TrainingImage], loss: Callable[[Batch], Tensor]) -> list[float]:
        """The mean loss of each image over its timesteps, each process measuring its share; the same on every one."""
        values = torch.zeros(len(images))
        for place in own_share(self.accelerator, range(len(images))):
            values[place] = loss(held_out_batch(self.batches, images[place])).mean()
            if self.accelerator.num_processes == 1:
                self.stop.check()
        return [float(value) for value in summed(self.accelerator, values)]

    def _check_base(self, losses: list[float]) -> None:
        """Stop before anything is trained when nothing could be compared with the base."""
        bad = [image.name for image, loss in zip(self.held_out, losses, strict=True) if not math.isfinite(loss)]
        if bad:
            precision = self.settings.precision
            cure = "at the weights of base.model" if precision == "fp32" else "set train.precision to bf16 or fp32"
            raise TrainingError(
                f"the base alone has no finite loss on {len(bad)} of {len(losses)} held-out images, e.g. {bad[0]}: "
                f"look at them, or {cure} (train.precision is {precision})"
            )

    def generate_strip(self, epoch: int) -> list[Tensor]:
        """Generate the validation prompt for each seed and write the images side by side; returns their latents.

        The PNG carries the parameters of its first image: but for the untrained base's, with the adapter in the prompt.
        """
        prompt, first = self.settings.validation_prompt, self.settings.seed
        seeds = range(first, first + self.settings.validation_images)
        latents = [self.sampler.sample(prompt, seed) for seed in seeds]
        images = [self.sampler.decode(latent) for latent in latents]
        width, height = images[0].size
        strip = Image.new("RGB", (width * len(images), height))
        for place, image in enumerate(images):
            strip.paste(image, (place * width, 0))
        parameters = self.sampler.parameters(prompt, first, {self.name: 1.0} if epoch else None)
        write_bytes(strip_file(self.folder, epoch), png_bytes(strip, parameters))
        return latents

    def _style_distance(self, latents: list[Tensor]) -> float | None:
        """Mean distance of the validation images' latents from the held-out images'; None without two of those.

        Only the first process generates; it tells the others, who must agree on when to stop.
        """
        if len(self.images) < 2:
            return None
        distances = torch.zeros(self.settings.validation_images)  # what the other processes add to the sum
        if latents:
            style = [self.batches.posterior(image, False).mean for image in self.images]
            distances = torch.tensor(style_distances(latents, style))
        return _finite(float(summed(self.accelerator, distances).double().mean()))


def _finite(value: float) -> float | None:
    """`value`, or None for NaN and infinity, which JSON cannot hold."""
    return value if math.isfinite(value) else None

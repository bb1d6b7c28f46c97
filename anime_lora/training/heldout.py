"""Held-out loss: fixed images × stratified timesteps × keyed noise, comparable from epoch to epoch and run to run."""

from collections.abc import Callable

import torch
from torch import Tensor

from anime_lora.diffusion.rng import generator
from anime_lora.training import losses
from anime_lora.training.batch import Batch, Batches
from anime_lora.training.images import TrainingImage

STRATA = 16
"""Timesteps per image: the middle of as many equal parts of the schedule."""


def timesteps(count: int) -> Tensor:
    """(STRATA,) timesteps, the same for every image, for a schedule of `count` steps."""
    return ((torch.arange(STRATA) + 0.5) * count / STRATA).long()


def batch(batches: Batches, image: TrainingImage) -> Batch:
    """One image's latent mean at every stratum, each with noise that follows from (image, timestep)."""
    mean, _ = batches.latents.get(image)
    steps = timesteps(len(batches.alphas))
    noise = torch.stack([torch.randn(mean.shape, generator=generator("held out", image.id, int(t))) for t in steps])
    latents = (mean * batches.scaling).expand(STRATA, *mean.shape)
    return batches.noised(latents, noise, steps, [image.text] * STRATA, torch.ones(STRATA))


def loss(image: TrainingImage, predict: Callable[[Batch], Tensor], batches: Batches) -> float:
    """Mean squared error of one image over the strata, unweighted."""
    made = batch(batches, image)
    return float(losses.squared_error(predict(made), made.target).mean())

"""Held-out loss: fixed pictures × stratified timesteps × keyed noise, comparable from epoch to epoch and run to run."""

from collections.abc import Callable

import torch
from torch import Tensor

from anime_lora.diffusion.rng import generator
from anime_lora.training import losses
from anime_lora.training.batch import Batch, Batches
from anime_lora.training.images import Picture

STRATA = 16
"""Timesteps per picture: the middle of as many equal parts of the schedule."""


def timesteps(count: int) -> Tensor:
    """(STRATA,) timesteps, the same for every picture, for a schedule of `count` steps."""
    return ((torch.arange(STRATA) + 0.5) * count / STRATA).long()


def batch(batches: Batches, picture: Picture) -> Batch:
    """One picture's latent mean at every stratum, each with noise that follows from (picture, timestep)."""
    mean, _ = batches.latents.get(picture)
    steps = timesteps(len(batches.alphas))
    noise = torch.stack([torch.randn(mean.shape, generator=generator("held out", picture.id, int(t))) for t in steps])
    latents = (mean * batches.scaling).expand(STRATA, *mean.shape)
    return batches.noised(latents, noise, steps, [picture.text] * STRATA, torch.ones(STRATA))


def loss(picture: Picture, predict: Callable[[Batch], Tensor], batches: Batches) -> float:
    """Mean squared error of one picture over the strata, unweighted."""
    made = batch(batches, picture)
    return float(losses.squared_error(predict(made), made.target).mean())

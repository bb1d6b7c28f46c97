"""The pocket autoencoder: trained on crops, then folded so that each latent channel has mean 0 and deviation 1."""

import math

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from numpy.typing import NDArray
from torch import Tensor, nn

from pocket.models import shapes
from pocket.training.fit import Loss, OnStep, Plan, fit
from pocket.training.recipe import AutoencoderRecipe

WHOLE = 0.1
"""Share of steps on a whole image instead of crops: group norm must see what it will be used on."""
START = 0.03
"""Deviation of the first kernels, in those of Kaiming's initialisation."""


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) bytes to (n, 3, h, w) floats in -1..1."""
    return (torch.from_numpy(np.array(images, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(
        memory_format=torch.channels_last
    )


def new_autoencoder(seed: int, edition: shapes.Edition = shapes.FIRST) -> AutoencoderKL:
    """The model before its first step: a mosaic of averaged 16x16 blocks, and a little noise to learn from.

    Each residual block is the identity and each other convolution passes its first channels on, so that colour need
    not be learned first: from random kernels, 2000 steps had not learned it.
    """
    torch.manual_seed(seed)
    model = shapes.autoencoder(edition).to(memory_format=torch.channels_last)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            _pass_channels_on(layer)
    for block in model.modules():
        if isinstance(block, ResnetBlock2D):
            nn.init.zeros_(block.conv2.weight)
    return model


@torch.no_grad()
def _pass_channels_on(layer: nn.Conv2d) -> None:
    """Identity at the centre, or the mean of 2x2 pixels where the step is 2; `START` of Kaiming's noise; no bias."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear").mul_(START)
    rows, columns = layer.weight.shape[:2]
    height, width = layer.kernel_size
    for channel in range(min(rows, columns)):
        if layer.stride[0] == 2:
            layer.weight[channel, channel, :2, :2] += 0.25
        else:
            layer.weight[channel, channel, height // 2, width // 2] += 1
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def train_autoencoder(
    model: AutoencoderKL,
    images: NDArray[np.uint8],
    plan: Plan,
    recipe: AutoencoderRecipe,
    preview: OnStep | None = None,
) -> AutoencoderKL:
    """Learn to reproduce `images` (n, h, w, 3) by crops; returns the model with normalised latents."""
    fit(model, _loss(model, images, recipe, plan.device), plan, preview)
    normalise(model, encode(model, images[:: max(1, len(images) // 400)]), recipe.noise)
    return model


def train_decoder(
    model: AutoencoderKL,
    images: NDArray[np.uint8],
    plan: Plan,
    recipe: AutoencoderRecipe,
    preview: OnStep | None = None,
) -> AutoencoderKL:
    """Go on with the decoder alone: the latents stay, so that a UNet can learn on them meanwhile."""
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    fit(model, _loss(model, images, recipe, plan.device), plan, preview)
    return model


def _loss(model: AutoencoderKL, images: NDArray[np.uint8], recipe: AutoencoderRecipe, device: str) -> Loss:
    side = images.shape[1]

    def loss(generator: torch.Generator) -> Tensor:
        whole = bool(torch.rand((), generator=generator) < WHOLE)
        count, width = (1, side) if whole else (recipe.batch, recipe.crop)
        rows = torch.randint(len(images), (count,), generator=generator).tolist()
        corners = torch.randint(side - width + 1, (count, 2), generator=generator).tolist()
        crops = [images[i, y : y + width, x : x + width] for i, (y, x) in zip(rows, corners, strict=True)]
        real = to_tensor(np.stack(crops)).to(device)
        shape = (count, model.config.latent_channels, width // shapes.DOWNSCALE, width // shapes.DOWNSCALE)
        noise = torch.randn(shape, generator=generator).to(device)
        return reconstruction(noisy_round_trip(model, real, noise, recipe.noise), real)

    return loss


def noisy_round_trip(model: AutoencoderKL, real: Tensor, noise: Tensor, share: float) -> Tensor:
    """Images (n, 3, h, w) encoded and decoded, with `share` of the latents' deviation of `noise` added between."""
    mean = model.encode(real).latent_dist.mean
    decoded: Tensor = model.decode(mean + share * mean.detach().std() * noise).sample
    return decoded


def reconstruction(decoded: Tensor, real: Tensor) -> Tensor:
    """Squared error, plus the absolute error of pixels and of their differences to neighbours, (n, 3, h, w)."""
    error = decoded - real
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return 8 * error.square().mean() + 0.5 * (error.abs().mean() + edges)


@torch.no_grad()
def encode(model: AutoencoderKL, images: NDArray[np.uint8], batch: int = 16) -> Tensor:
    """Posterior means, (n, channels, h / 16, w / 16)."""
    parts = [to_tensor(images[i : i + batch]).to(model.device) for i in range(0, len(images), batch)]
    means = [model.encode(part).latent_dist.mean for part in parts]
    return torch.cat(means)


@torch.no_grad()
def normalise(model: AutoencoderKL, latents: Tensor, noise: float) -> None:
    """Fold mean and deviation of `latents` per channel into the two 1x1 convolutions around the bottleneck.

    The posterior's deviation becomes `noise` for every image: the noise that the decoder was trained with.
    """
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    quant, post = model.quant_conv, model.post_quant_conv
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= deviation[None, :, None, None]
    quant.weight[:channels] /= deviation[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / deviation
    quant.weight[channels:] = 0
    quant.bias[channels:] = 2 * math.log(noise)
    model.register_to_config(scaling_factor=1.0)

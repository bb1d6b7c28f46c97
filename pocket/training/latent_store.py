"""Latents and captions of the images rendered so far, on the device, and the batches sampled from them."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from pocket.models import shapes
from pocket.training.compile_ahead import mixed_precision
from pocket.training.diffusion import stratified_times, velocity_weights
from pocket.training.live_corpus import SIDE, ImageArrays
from pocket.training.recipe import GpuRecipe

ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class Batch:
    """What one diffusion step learns from; n samples."""

    index: Tensor
    """Which images, (n,)."""
    mirrored: Tensor
    """Which of them are mirrored, (n,), bool."""
    noisy: Tensor
    """Latents with noise, (n, c, h, w)."""
    velocity: Tensor
    """The target of v-prediction, (n, c, h, w)."""
    times: Tensor
    """(n,)."""
    ids: Tensor
    """Token ids, (n, tokens)."""
    weights: Tensor
    """(n,)."""

    def loss(self, predicted: Tensor) -> Tensor:
        """The weighted squared error of `predicted` (n, c, h, w), a scalar."""
        return (self.weights * (predicted.float() - self.velocity).square().mean((1, 2, 3))).mean()


class LatentStore:
    """Each image's latents as it is and mirrored, in half precision, and its captions' token ids."""

    def __init__(self, vae: AutoencoderKL, arrays: ImageArrays, recipe: GpuRecipe, generator: torch.Generator) -> None:
        self.vae, self.arrays, self.recipe, self.generator = vae, arrays, recipe, generator
        self.device = generator.device
        count, captions, length = arrays.tokens.shape
        side = SIDE // shapes.DOWNSCALE
        latents = (2, count, vae.config.latent_channels, side, side)
        self._latents = torch.zeros(latents, dtype=torch.float16, device=self.device)
        self._ids = torch.zeros((count, captions, length), dtype=torch.int16, device=self.device)
        self._alphas = shapes.scheduler().alphas_cumprod.to(self.device)
        self._stored = np.zeros(count, bool)

    @torch.no_grad()
    def update(self) -> Tensor:
        """Encode the images rendered since the last call; returns the indices of all that are stored, (n,)."""
        new = np.flatnonzero((self.arrays.state[:] > 0) & ~self._stored)
        for start in range(0, len(new), ENCODED_AT_ONCE):
            rows = new[start : start + ENCODED_AT_ONCE]
            images = to_device(self.arrays.pixels[rows], self.device)
            with mixed_precision(str(self.device)):
                for mirrored, seen in enumerate((images, images.flip(-1))):
                    self._latents[mirrored, rows] = self.vae.encode(seen).latent_dist.mean.half()
            self._ids[rows] = torch.from_numpy(self.arrays.tokens[rows]).to(self.device)
            self._stored[rows] = True
        return torch.from_numpy(np.flatnonzero(self._stored)).to(self.device)

    def with_state(self, state: int) -> NDArray[np.intp]:
        """Indices of the stored images in this state."""
        return np.flatnonzero(self._stored & (self.arrays.state[:] == state))

    def sample(self, count: int, index: Tensor) -> Batch:
        """`count` samples of the images in `index`, each with one of its captions and a strength of noise."""
        generator, device = self.generator, self.device
        rows = index[torch.randint(len(index), (count,), device=device, generator=generator)]
        mirrored = torch.rand(count, device=device, generator=generator) < 0.5
        clean = self._latents[mirrored.long(), rows].float()
        clean = clean + self.recipe.base.latent_noise * self._randn(clean)
        ids = self._ids[rows, torch.randint(self._ids.shape[1], (count,), device=device, generator=generator)]
        times = stratified_times(count, len(self._alphas), generator)
        alpha, noise = self._alphas[times][:, None, None, None], self._randn(clean)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        return Batch(
            index=rows,
            mirrored=mirrored,
            noisy=noisy.contiguous(memory_format=torch.channels_last),
            velocity=alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
            times=times,
            ids=ids.long(),
            weights=velocity_weights(self._alphas[times], self.recipe.base.gamma),
        )

    def _randn(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, device=self.device, generator=self.generator)


def to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(n, h, w, 3) bytes as (n, 3, h, w) floats in -1..1 on `device`; bytes travel, being a quarter of the floats."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)

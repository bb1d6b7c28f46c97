"""Latents, captions and edges of the images rendered so far, on the device, and the batches sampled from them."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from pocket.models import shapes
from pocket.training.compile_ahead import mixed_precision
from pocket.training.diffusion import stratified_times, velocity_weights
from pocket.training.live_corpus import SIDE, WITH_EDGES, ImageArrays
from pocket.training.recipe import GpuRecipe

ENCODED_AT_ONCE = 256
UPDATE_SECONDS = 20.0
"""How often newly rendered images join the others."""


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
    """Of each image: latents as it is and mirrored, in half precision, its captions' token ids, its edges in bits."""

    def __init__(self, vae: AutoencoderKL, arrays: ImageArrays, recipe: GpuRecipe, generator: torch.Generator) -> None:
        self.vae, self.arrays, self.recipe, self.generator = vae, arrays, recipe, generator
        self.device = generator.device
        count, captions, length = arrays.tokens.shape
        side = SIDE // shapes.DOWNSCALE
        latents = (2, count, vae.config.latent_channels, side, side)
        self._latents = torch.zeros(latents, dtype=torch.float16, device=self.device)
        self._ids = torch.zeros((count, captions, length), dtype=torch.int16, device=self.device)
        self._alphas = shapes.scheduler().alphas_cumprod.to(self.device)
        self._edges = torch.zeros((count, SIDE * SIDE // 8), dtype=torch.uint8, device=self.device)
        # numpy.packbits puts the first pixel into the highest bit.
        self._bits = torch.arange(7, -1, -1, dtype=torch.uint8, device=self.device)
        self._stored = np.zeros(count, bool)
        self._next_update = 0.0

    def index(self, *, with_edges: bool = False) -> Tensor:
        """Which images are stored, (n,), or those with edges among them; every 20 s new ones are encoded first."""
        if time.monotonic() >= self._next_update:
            self._update()
            self._next_update = time.monotonic() + UPDATE_SECONDS
            self._index = self._on_device(self._stored)
            self._index_with_edges = self._on_device(self._stored & (self.arrays.state[:] == WITH_EDGES))
        return self._index_with_edges if with_edges else self._index

    def _on_device(self, chosen: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(np.flatnonzero(chosen)).to(self.device)

    @torch.no_grad()
    def _update(self) -> None:
        new = np.flatnonzero((self.arrays.state[:] > 0) & ~self._stored)
        for start in range(0, len(new), ENCODED_AT_ONCE):
            rows = new[start : start + ENCODED_AT_ONCE]
            images = to_device(self.arrays.pixels[rows], self.device)
            with mixed_precision(str(self.device)):
                for mirrored, seen in enumerate((images, images.flip(-1))):
                    self._latents[mirrored, rows] = self.vae.encode(seen).latent_dist.mean.half()
            self._ids[rows] = torch.from_numpy(self.arrays.tokens[rows]).to(self.device)
            self._edges[rows] = torch.from_numpy(self.arrays.edges[rows]).to(self.device)
            self._stored[rows] = True

    def sample(self, count: int, *, with_edges: bool = False) -> Batch:
        """`count` of the stored images (or of those with edges), each with one of its captions and some noise."""
        generator, device, index = self.generator, self.device, self.index(with_edges=with_edges)
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

    def edge_images(self, index: Tensor, mirrored: Tensor) -> Tensor:
        """Edges as 0 and 1, (n, 3, 256, 256), of the images `index` (n,), mirrored where asked."""
        pixels = ((self._edges[index][..., None] >> self._bits) & 1).reshape(-1, 1, SIDE, SIDE).float()
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        return pixels.expand(-1, 3, -1, -1)

    def _randn(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, device=self.device, generator=self.generator)


def to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(n, h, w, 3) bytes as (n, 3, h, w) floats in -1..1 on `device`; bytes travel, being a quarter of the floats."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)

"""The pocket UNet and its text tower, trained together on cached latents."""

import string

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.faces.captions import caption
from pocket.models import shapes
from pocket.models.tokenizer import PROSE
from pocket.training.corpus import Corpus
from pocket.training.fit import Loss, Plan, Watch, fit
from pocket.training.recipe import DiffusionRecipe


class Diffusion(nn.Module):
    """UNet and text tower as one trainable."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.unet: UNet2DConditionModel = shapes.unet().to(memory_format=torch.channels_last)
        self.text_encoder: CLIPTextModel = shapes.text_encoder(tokenizer)

    def forward(self, noisy: Tensor, time: Tensor, captions: list[str]) -> Tensor:
        """Predicted noise for latents (n, c, h, w) at time steps (n,)."""
        ids = tokens(self.tokenizer, captions).to(noisy.device)
        noise: Tensor = self.unet(noisy, time, self.text_encoder(ids)[0]).sample
        return noise


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids, (n, 77), padded and cut as a pipeline does."""
    longest = tokenizer.model_max_length
    padded = tokenizer(captions, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    ids: Tensor = padded.input_ids
    return ids


def new_diffusion(tokenizer: CLIPTokenizer, seed: int) -> Diffusion:
    """UNet and text tower before their first step."""
    torch.manual_seed(seed)
    return Diffusion(tokenizer)


def train_diffusion(
    diffusion: Diffusion,
    latents: Tensor,
    corpus: Corpus,
    plan: Plan,
    recipe: DiffusionRecipe,
    *,
    watch: Watch | None = None,
) -> Diffusion:
    """Learn to generate `latents` (n, c, h, w) from captions of `corpus`."""
    fit(diffusion, _loss(diffusion, latents, corpus, recipe, plan.device), plan, watch)
    return diffusion


def _loss(diffusion: Diffusion, latents: Tensor, corpus: Corpus, recipe: DiffusionRecipe, device: str) -> Loss:
    alphas = shapes.scheduler().alphas_cumprod
    batch = recipe.batch

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (batch,), generator=generator)
        words = np.random.Generator(np.random.PCG64(int(torch.randint(2**62, (), generator=generator))))
        captions = [_caption(corpus, int(row), words, recipe) for row in rows]
        time = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
        time = (time * len(alphas)).long().clamp(max=len(alphas) - 1)
        clean, noise = latents[rows], torch.randn((batch, *latents.shape[1:]), generator=generator)
        alpha = alphas[time][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        miss = (diffusion(noisy.to(device), time.to(device), captions) - noise.to(device)).square().mean((1, 2, 3))
        weighted: Tensor = weights(alphas[time], recipe.gamma, recipe.noisy).to(device) * miss
        return weighted.mean()

    return loss


def weights(alpha: Tensor, gamma: float, noisy: float) -> Tensor:
    """Weights min(SNR, γ)/SNR of epsilon prediction (Hang et al. 2023), times SNR^-noisy where SNR < 1; alphas (n,).

    What a prompt says of colours shows through all but the strongest noise, where the plain loss hardly counts.
    """
    snr = alpha / (1 - alpha)
    return snr.clamp(max=gamma) / snr * snr.clamp(max=1) ** -noisy


def _caption(corpus: Corpus, row: int, rng: np.random.Generator, recipe: DiffusionRecipe) -> str:
    """A caption, sometimes none, sometimes with a word that means nothing (as a trigger does before it is learned)."""
    if rng.random() < recipe.caption_dropout:
        return ""
    text = caption(corpus.character(row), corpus.domain(row), rng)
    if rng.random() < recipe.nonsense:
        word = _nonsense(rng)
        return f"{word} {text}" if rng.random() < 0.6 else f"{text}, {word}"
    return text


def _nonsense(rng: np.random.Generator) -> str:
    """Random letters, or common words that say nothing about this image, alone or joined by `_`."""
    if rng.random() < 0.4:
        return "".join(rng.choice(list(string.ascii_lowercase + "_"), int(rng.integers(3, 18))))
    joint = "_" if rng.random() < 0.5 else ("" if rng.random() < 0.5 else " ")
    return joint.join(rng.choice(PROSE, int(rng.integers(1, 5))))

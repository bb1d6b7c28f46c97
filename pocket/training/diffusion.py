"""The pocket UNet and its text encoder, trained together on cached latents."""

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.faces.captions import augment_caption, caption
from pocket.models import shapes
from pocket.training.corpus import Corpus
from pocket.training.fit import Loss, OnStep, Plan, fit
from pocket.training.recipe import DiffusionRecipe


class Diffusion(nn.Module):
    """UNet and text encoder as one trainable; `prediction` is what the UNet predicts, as a scheduler names it."""

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        prediction: str = "epsilon",
    ) -> None:
        super().__init__()
        self.tokenizer, self.unet, self.text_encoder = tokenizer, unet, text_encoder
        self.prediction = prediction

    def forward(self, noisy: Tensor, time: Tensor, captions: list[str]) -> Tensor:
        """The UNet's prediction for latents (n, c, h, w) at time steps (n,)."""
        ids = tokens(self.tokenizer, captions).to(noisy.device)
        predicted: Tensor = self.unet(noisy, time, self.text_encoder(ids)[0]).sample
        return predicted


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids, (n, 77), padded and cut as a pipeline does."""
    longest = tokenizer.model_max_length
    padded = tokenizer(captions, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    ids: Tensor = padded.input_ids
    return ids


def new_diffusion(tokenizer: CLIPTokenizer, seed: int, edition: shapes.Edition = shapes.FIRST) -> Diffusion:
    """UNet and text encoder before their first step."""
    torch.manual_seed(seed)
    unet = shapes.unet(edition).to(memory_format=torch.channels_last)
    return Diffusion(tokenizer, unet, shapes.text_encoder(tokenizer), edition.prediction)


def train_diffusion(
    diffusion: Diffusion,
    latents: Tensor,
    corpus: Corpus,
    plan: Plan,
    recipe: DiffusionRecipe,
    *,
    preview: OnStep | None = None,
) -> Diffusion:
    """Learn to generate `latents` (n, c, h, w) from captions of `corpus`."""
    fit(diffusion, _loss(diffusion, latents, corpus, recipe, plan.device), plan, preview)
    return diffusion


def _loss(diffusion: Diffusion, latents: Tensor, corpus: Corpus, recipe: DiffusionRecipe, device: str) -> Loss:
    alphas = shapes.scheduler().alphas_cumprod
    batch = recipe.batch

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (batch,), generator=generator)
        rng = np.random.Generator(np.random.PCG64(int(torch.randint(2**62, (), generator=generator))))
        captions = [_caption(corpus, int(row), rng, recipe) for row in rows]
        time = stratified_times(batch, len(alphas), generator)
        clean, noise = latents[rows], torch.randn((batch, *latents.shape[1:]), generator=generator)
        alpha = alphas[time][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        error = (diffusion(noisy.to(device), time.to(device), captions) - noise.to(device)).square().mean((1, 2, 3))
        weighted: Tensor = weights(alphas[time], recipe.gamma, recipe.noisy).to(device) * error
        return weighted.mean()

    return loss


def stratified_times(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """Time steps (n,), one from each of `count` equal ranges of `steps`: a batch holds every strength of noise."""
    device = generator.device
    time = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    return (time * steps).long().clamp(max=steps - 1)


def weights(alpha: Tensor, gamma: float, noisy: float) -> Tensor:
    """Weights min(SNR, γ)/SNR of epsilon prediction (Hang et al. 2023), times SNR^-noisy where SNR < 1; alphas (n,).

    What a prompt says of colours shows through all but the strongest noise, where the plain loss hardly counts.
    """
    snr = alpha / (1 - alpha)
    return snr.clamp(max=gamma) / snr * snr.clamp(max=1) ** -noisy


def velocity_weights(alpha: Tensor, gamma: float) -> Tensor:
    """Weights of v-prediction: 1 up to SNR γ, (γ + 1) / (SNR + 1) above, where little noise is left; alphas (n,)."""
    snr = alpha / (1 - alpha)
    return (snr.clamp(max=gamma) + 1) / (snr + 1)


def _caption(corpus: Corpus, row: int, rng: np.random.Generator, recipe: DiffusionRecipe) -> str:
    def write() -> str:
        return caption(corpus.character(row), corpus.domain(row), rng)

    return augment_caption(write, rng, recipe.caption_dropout, recipe.nonsense)

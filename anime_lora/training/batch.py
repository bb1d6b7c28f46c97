"""What one micro-batch shows the UNet, put together from cached latents, captions and the visit's random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from anime_lora.config.train import Train
from anime_lora.diffusion.rng import epoch_order, sample_bool, sample_noise, shuffled
from anime_lora.training import losses
from anime_lora.training.images import TrainingImage
from anime_lora.training.latent_cache import Latents
from anime_lora.training.text_embeddings import Texts, shown


@dataclass(frozen=True)
class Visit:
    """One showing of one image in one epoch, with the class image shown beside it, if any."""

    epoch: int
    image: TrainingImage
    prior: TrainingImage | None = None


def epoch_visits(
    images: Sequence[TrainingImage], priors: Sequence[TrainingImage], seed: int, epoch: int
) -> list[Visit]:
    """An epoch: every training image once, class images dealt out in turn."""
    dealt = shuffled(priors, "prior", seed, epoch)
    places = epoch_order([image.id for image in images], seed, epoch)
    return [Visit(epoch, images[i], dealt[n % len(dealt)] if dealt else None) for n, i in enumerate(places)]


@dataclass(frozen=True)
class Batch:
    """Inputs and target of n samples on the training device; `weights` scale each sample's loss."""

    noisy: Tensor
    timesteps: Tensor
    texts: list[str]
    target: Tensor
    weights: Tensor


class Batches:
    """Builds batches; holds no state that changes."""

    def __init__(self, settings: Train, latents: Latents, texts: Texts, scheduler: DDPMScheduler, device: torch.device):
        self.settings, self.latents, self.texts, self.device = settings, latents, texts, device
        self.alphas: Tensor = scheduler.alphas_cumprod.float().cpu()
        asked = settings.prediction_type
        self.prediction: str = scheduler.config.prediction_type if asked == "base" else asked
        self.scaling = float(latents.vae.config.scaling_factor)

    def of(self, visits: Sequence[Visit]) -> Batch:
        """The batch of `visits`, class images included."""
        samples = [self._sample(*each) for each in self.samples(visits)]
        weights = [1.0] * len(visits) + [self.settings.prior_weight] * (len(samples) - len(visits))
        latents, noise = torch.stack([s[0] for s in samples]), torch.stack([s[1] for s in samples])
        timesteps = torch.tensor([sample[2] for sample in samples])
        return self.noised(latents, noise, timesteps, [sample[3] for sample in samples], torch.tensor(weights))

    @staticmethod
    def samples(visits: Sequence[Visit]) -> list[tuple[int, TrainingImage, str]]:
        """Epoch, image and name (what its random numbers follow from) of each sample of `visits`, class images last."""
        found = [(v.epoch, v.image, v.image.id) for v in visits]
        return found + [(v.epoch, v.prior, f"{v.prior.id}/{v.image.id}") for v in visits if v.prior]

    def timestep(self, epoch: int, image: TrainingImage, name: str) -> int:
        """The timestep of a sample."""
        shape = tuple(self.latents.get(image)[0].shape)
        return sample_noise(self.settings.seed, epoch, name, shape, len(self.alphas)).timestep

    def _sample(self, epoch: int, image: TrainingImage, name: str) -> tuple[Tensor, Tensor, int, str]:
        """One image's latent, noise, timestep and text; random numbers follow from `name`."""
        settings = self.settings
        key = (settings.seed, epoch, name)
        mean, log_variance = self.latents.get(image, settings.flip and sample_bool(0.5, "flip", *key))
        sampled = sample_noise(*key, tuple(mean.shape), len(self.alphas))
        noise = losses.shifted(sampled.noise, sampled.offset, settings.noise_offset)
        text = shown(image.text, key, settings.caption_dropout, settings.shuffle_tags, settings.keep_tags)
        return losses.latent(mean, log_variance, sampled.posterior, self.scaling), noise, sampled.timestep, text

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor, texts: list[str], weights: Tensor) -> Batch:
        """A batch from latents, noise and timesteps on the CPU."""
        alpha_bar = self.alphas[timesteps]
        if self.settings.min_snr_gamma is not None:
            weights = weights * losses.min_snr_weight(alpha_bar, self.settings.min_snr_gamma, self.prediction)
        wanted = losses.target(latents, noise, alpha_bar, self.prediction)
        noisy = losses.noised(latents, noise, alpha_bar)
        moved = [t.to(self.device, non_blocking=True) for t in (noisy, timesteps, wanted, weights)]
        return Batch(moved[0], moved[1], texts, moved[2], moved[3])

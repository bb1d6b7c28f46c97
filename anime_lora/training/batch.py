"""One batch: the dataset's images, the order in which an epoch shows them, and the tensors that the UNet gets."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from anime_lora.config import paths
from anime_lora.config.train import Train
from anime_lora.diffusion.rng import epoch_order, sample_bool, sample_noise, shuffled
from anime_lora.errors import DatasetError
from anime_lora.files import check_unchanged, read_jsonl
from anime_lora.training import losses
from anime_lora.training.text_embeddings import augment_caption

METADATA = "metadata.jsonl"

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingImage:
    """One image and its caption: a row of the organize stage's `metadata.jsonl`, or a class image of the base's own."""

    id: str
    path: Path
    text: str
    """The caption; of several, of which each use takes another, one a line."""
    split: str
    """train, holdout or prior."""
    pixel_sha256: str
    name: str
    """What a message calls it."""
    file_sha256: str | None = None
    """Hex sha256 of the file's bytes as organize wrote it; None of a class image."""

    @property
    def captions(self) -> list[str]:
        """Every caption that it may be trained with; validation takes the first."""
        return self.text.split("\n")


def read_images(folder: Path = paths.ORGANIZE) -> list[TrainingImage]:
    """Every image of the organized dataset, sorted by id.

    Raises:
        DatasetError: no dataset, a damaged row, or no training image.
    """
    table = folder / METADATA
    if not table.is_file():
        raise DatasetError(f"{table} is not there: run the organize stage first (`dvc repro organize`)")
    try:
        rows = read_jsonl(table)
        images = [
            TrainingImage(
                r["id"], folder / r["file"], r["text"], r["split"], r["pixel_sha256"], r["file"], r["file_sha256"]
            )
            for r in rows
        ]
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{table} is damaged ({error!r}): run the organize stage again") from error
    if not any(image.split == "train" for image in images):
        raise DatasetError(f"{table} has no row with split train among {len(images)}: lower organize.holdout_share")
    return sorted(images, key=lambda image: image.id)


def check_images(images: Iterable[TrainingImage]) -> None:
    """Make sure that the images are those that organize wrote.

    Raises:
        DatasetError: one was changed or is lost.
    """
    check_unchanged({image.path: image.file_sha256 for image in images if image.file_sha256}, "organize")


def of_split(images: Sequence[TrainingImage], split: str) -> list[TrainingImage]:
    """The images of one split, in their order."""
    return [image for image in images if image.split == split]


def dataset_hash(images: Sequence[TrainingImage]) -> str:
    """Hex sha256 over what training sees of each image: id, pixels, text, split."""
    lines = (f"{p.id}\x1f{p.pixel_sha256}\x1f{p.text}\x1f{p.split}\n" for p in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def in_groups(items: Sequence[T], size: int) -> list[list[T]]:
    """`items` in accumulation groups or micro-batches of `size`; the last one holds what is left."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


@dataclass(frozen=True)
class Example:
    """One training image in one epoch, with the class image trained beside it, if any."""

    epoch: int
    image: TrainingImage
    prior: TrainingImage | None = None


def epoch_examples(
    images: Sequence[TrainingImage], priors: Sequence[TrainingImage], seed: int, epoch: int, prior_share: float = 1.0
) -> list[Example]:
    """An epoch: every training image once, in an order of its own; class images are dealt out in turn to a share."""
    dealt = shuffled(priors, "prior", seed, epoch)
    places = epoch_order([image.id for image in images], seed, epoch)
    examples, given = [], 0
    for number, place in enumerate(places, 1):
        prior = dealt[given % len(dealt)] if dealt and int(number * prior_share) > given else None
        given += prior is not None
        examples.append(Example(epoch, images[place], prior))
    return examples


class Posterior(NamedTuple):
    """What the VAE encodes an image to: mean and log-variance, each (C, h, w) in fp32 on the CPU."""

    mean: Tensor
    log_variance: Tensor


@dataclass(frozen=True)
class Sample:
    """One row of a batch; its random numbers follow from the run's seed, `epoch` and `key`."""

    epoch: int
    image: TrainingImage
    key: str
    weight: float


@dataclass(frozen=True)
class Batch:
    """Inputs and target of n samples on the training device; `weights` scale each sample's loss."""

    noisy: Tensor
    timesteps: Tensor
    captions: list[str]
    target: Tensor
    weights: Tensor


def prediction_type(settings: Train, pipe: StableDiffusionPipeline) -> str:
    """What the UNet predicts: epsilon or v_prediction, the base's own unless the settings say otherwise."""
    asked = settings.prediction_type
    return str(pipe.scheduler.config.prediction_type) if asked == "base" else asked


class BatchBuilder:
    """Builds batches; holds no state that changes.

    Args:
        settings: the train section.
        posterior: the cached posterior of an image, mirrored when the second argument is true.
        pipe: the base, for its noise schedule and the scale of its latents.
        device: where batches go.
    """

    def __init__(
        self,
        settings: Train,
        posterior: Callable[[TrainingImage, bool], Posterior],
        pipe: StableDiffusionPipeline,
        device: torch.device,
    ) -> None:
        self.settings, self.posterior, self.device = settings, posterior, device
        self.alphas_cumprod: Tensor = DDPMScheduler.from_config(pipe.scheduler.config).alphas_cumprod.float().cpu()
        self.prediction_type = prediction_type(settings, pipe)
        self.scaling = float(pipe.vae.config.scaling_factor)

    def build(self, examples: Sequence[Example]) -> Batch:
        """The batch of `examples`, class images after the others."""
        samples = self.samples(examples)
        latents, noise, timesteps, captions = zip(*(self._row(sample) for sample in samples), strict=True)
        steps, weights = torch.tensor(timesteps), torch.tensor([sample.weight for sample in samples])
        if self.settings.min_snr_gamma is not None:
            alpha_bar = self.alphas_cumprod[steps]
            weights = weights * losses.min_snr_weight(alpha_bar, self.settings.min_snr_gamma, self.prediction_type)
        return self.add_noise(torch.stack(latents), torch.stack(noise), steps, list(captions), weights)

    def samples(self, examples: Sequence[Example]) -> list[Sample]:
        """The rows of a batch of `examples`; a class image beside two of them gets noise of its own at each."""
        # the image beside it is part of a class image's key: in one epoch it may be dealt to several
        own = [Sample(each.epoch, each.image, each.image.id, 1.0) for each in examples]
        return own + [
            Sample(each.epoch, each.prior, f"{each.prior.id}/{each.image.id}", self.settings.prior_weight)
            for each in examples
            if each.prior
        ]

    def timestep(self, sample: Sample) -> int:
        """The timestep of a sample."""
        shape = tuple(self.posterior(sample.image, False).mean.shape)
        return sample_noise(self.settings.seed, sample.epoch, sample.key, shape, len(self.alphas_cumprod)).timestep

    def _row(self, sample: Sample) -> tuple[Tensor, Tensor, int, str]:
        """A sample's latent, noise, timestep and caption."""
        settings, key = self.settings, (self.settings.seed, sample.epoch, sample.key)
        flip = settings.flip and sample_bool(0.5, "flip", *key)
        mean, log_variance = self.posterior(sample.image, flip)
        random = sample_noise(*key, tuple(mean.shape), len(self.alphas_cumprod))
        noise = losses.shifted(random.noise, random.offset, settings.noise_offset)
        caption = augment_caption(
            sample.image.text, key, settings.caption_dropout, settings.shuffle_tags, settings.keep_tags
        )
        return losses.latent(mean, log_variance, random.posterior, self.scaling), noise, random.timestep, caption

    def add_noise(
        self, latents: Tensor, noise: Tensor, timesteps: Tensor, captions: list[str], weights: Tensor
    ) -> Batch:
        """The batch of latents (n, C, h, w) at their timesteps (n,); all of them on the CPU."""
        alpha_bar = self.alphas_cumprod[timesteps]
        target = losses.target(latents, noise, alpha_bar, self.prediction_type)
        tensors = (losses.noised(latents, noise, alpha_bar), timesteps, target, weights)
        # everything above is computed on the CPU, so that every device trains on the same numbers
        noisy, steps, target, weights = (tensor.to(self.device, non_blocking=True) for tensor in tensors)
        return Batch(noisy, steps, captions, target, weights)

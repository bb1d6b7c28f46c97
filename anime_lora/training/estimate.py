"""What a training will do and cost, before hours are spent: counted from the settings, measured on a few real steps."""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anime_lora.config import paths
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.base_model import locate
from anime_lora.errors import TrainingError
from anime_lora.training import sanity_checks
from anime_lora.training.batch import TrainingImage, of_split, read_images
from anime_lora.training.checkpoint import room_on_disk
from anime_lora.training.processes import stop_on_signals
from anime_lora.training.record import run_inputs
from anime_lora.training.stage import open_trainer
from anime_lora.training.text_embeddings import token_count, truncated
from anime_lora.training.trainer import Trainer
from anime_lora.training.validation import STRATA, Sampler, held_out_batch

STEPS = 5
"""Measured steps at most; a first one is not counted."""
ENOUGH = 15.0
"""Seconds of measured steps after which no further one is taken."""
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Counts:
    """What follows from settings, images and tokenizer."""

    device: str
    train_images: int
    holdout_images: int
    epochs: int
    steps: int
    batch_size: int
    accumulation: int
    rates: list[tuple[float, float]]
    """Learning rate and effective rate (times alpha / rank): the UNet's, then the text encoder's when it is trained."""
    weights: int
    longest_caption: int
    """In tokens."""
    token_limit: int
    truncated: list[str]
    """Captions that are longer than the limit."""
    trigger: str
    trigger_tokens: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        labels = ("effective learning rate", "effective rate of the text encoder")
        rates = [
            (label, f"{moved:g} ({rate:g} x {moved / rate:g})")
            for label, (rate, moved) in zip(labels, self.rates, strict=False)
        ]
        return [
            ("device", self.device),
            ("images", f"{self.train_images} to train on, {self.holdout_images} held out"),
            ("times each image is seen", str(self.epochs)),
            ("optimizer steps", f"{self.steps} ({-(-self.steps // self.epochs)} per epoch)"),
            ("effective batch", f"{self.batch_size * self.accumulation} ({self.batch_size} x {self.accumulation})"),
            *rates,
            ("trained weights", f"{self.weights / 1e6:.2f} million"),
            ("longest caption", f"{self.longest_caption} of {self.token_limit} tokens"),
            ("truncated captions", f"{len(self.truncated)}" + "".join(f", e.g. {t[:60]}…" for t in self.truncated[:1])),
            ("trigger", f"{self.trigger} is {len(self.trigger_tokens)} tokens: {' '.join(self.trigger_tokens)}"),
        ]


@dataclass(frozen=True)
class DiskUse:
    """Bytes that a run writes."""

    checkpoint: int
    checkpoints: int
    adapters: int
    latents: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.checkpoints + self.adapters + self.latents


@dataclass(frozen=True)
class Costs:
    """What was measured; seconds and bytes."""

    step: float
    encode: float
    """Of all images that the latent cache lacks."""
    images_to_encode: int
    generate_class_images: float
    class_images_to_generate: int
    total: float
    memory_peak: int
    memory_total: int
    disk: DiskUse
    disk_free: int

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        before = f"{_duration(self.encode)} to encode {self.images_to_encode} images"
        if self.class_images_to_generate:
            before += f" and {_duration(self.generate_class_images)} to generate {self.class_images_to_generate}"
            before += " class images"
        disk = self.disk
        parts = {"checkpoints": disk.checkpoints, "adapters": disk.adapters, "latents": disk.latents}
        written = ", ".join(f"{name} {size / MIB:.1f}" for name, size in parts.items())
        return [
            ("time per step", f"{self.step:.2f} s"),
            ("time in all", f"about {_duration(self.total)}, of which {before}"),
            ("memory", f"{self.memory_peak / GIB:.1f} of {self.memory_total / GIB:.1f} GiB"),
            ("checkpoint", f"{disk.checkpoint / MIB:.1f} MiB"),
            ("disk", f"{disk.total / MIB:.1f} MiB ({written}) of {self.disk_free / GIB:.1f} GiB free"),
        ]


@dataclass(frozen=True)
class Plan:
    """What a training will do and cost, and what of it is unlikely to be meant."""

    counts: Counts
    costs: Costs
    warnings: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for people; a warning is a row of its own."""
        return [*self.counts.rows(), *self.costs.rows(), *(("warning", warning) for warning in self.warnings)]


def plan(  # noqa: PLR0917  the door: four sections, two folders
    settings: Train,
    concept: Concept,
    base: Base,
    compute: Compute,
    organize: Path = paths.ORGANIZE,
    cache: Path = paths.CACHE,
) -> Plan:
    """Count and measure the training of the settings.

    Encodes a few images into the latent cache and generates at most a step's class images, which stay for the real run;
    takes a few steps, which are thrown away.

    Raises:
        TrainingError: the training cannot succeed, with every reason; or it does not fit into memory or disk.
        DatasetError: there is no organized dataset.
        BaseModelError: the base is missing or broken.
    """
    images = read_images(organize)
    device = machine.pick_device(compute.device)
    machine.check_device(settings, device, compute.processes)
    sanity_checks.check_training(settings, concept, images)
    base_path = locate(base)
    inputs = run_inputs(settings, concept, base, base_path, images)
    group_size = settings.batch_size * settings.gradient_accumulation_steps
    with machine.deterministic(device), stop_on_signals() as stop:
        accelerator = machine.new_accelerator(settings, device)
        with room_on_disk("latents and class images", cache), machine.room_in_memory(settings, accelerator.device):
            trainer = open_trainer(
                inputs, base_path, images, accelerator, cache=cache, stop=stop, most_class_images=group_size
            )
            return Plan(
                count(trainer, concept, images),
                measure(trainer, of_split(images, "holdout"), compute.processes),
                sanity_checks.training_warnings(settings, concept, images),
            )


def count(trainer: Trainer, concept: Concept, images: Sequence[TrainingImage]) -> Counts:
    """What follows from the settings of `trainer`, before a step is taken."""
    settings, tokenizer = trainer.settings, trainer.pipe.tokenizer
    rates = sanity_checks.rates(settings).values(), sanity_checks.effective_rates(settings).values()
    return Counts(
        device=str(trainer.accelerator.device),
        train_images=len(trainer.train_images),
        holdout_images=len(images) - len(trainer.train_images),
        epochs=settings.epochs,
        steps=trainer.total_steps,
        batch_size=settings.batch_size,
        accumulation=settings.gradient_accumulation_steps,
        rates=list(zip(*rates, strict=True)),
        weights=sum(value.numel() for value in trainer.adapter().values()),
        longest_caption=max(token_count(tokenizer, caption) for image in images for caption in image.captions),
        token_limit=tokenizer.model_max_length,
        truncated=truncated(tokenizer, [caption for image in images for caption in image.captions]),
        trigger=concept.trigger,
        trigger_tokens=tokenizer.tokenize(concept.trigger),
    )


def measure(trainer: Trainer, holdout: list[TrainingImage], processes: int) -> Costs:
    """Costs of the run, from a few of its real parts. Moves the adapters: `trainer` is no good for training afterwards.

    Raises:
        TrainingError: a loss or gradient was not finite, or the disk is too small.
    """
    settings = trainer.settings
    class_images = settings.prior_images - len(trainer.class_images)
    to_encode, encode = encode_seconds(trainer, holdout, class_images)
    held_out, generate = validation_seconds(trainer)
    step = step_seconds(trainer, processes)
    validated = sum(min(settings.heldout_images, len(images)) for images in (trainer.train_images, holdout))
    validation = validated * held_out + settings.validation_images * generate
    before = to_encode * encode + class_images * generate
    disk = disk_use(trainer, to_encode)
    return Costs(
        step=step,
        encode=to_encode * encode,
        images_to_encode=to_encode,
        generate_class_images=class_images * generate,
        class_images_to_generate=class_images,
        total=before + trainer.total_steps * step + (settings.epochs + 1) * validation,
        memory_peak=machine.memory_peak(trainer.accelerator.device),
        memory_total=machine.memory_total(trainer.accelerator.device),
        disk=disk,
        disk_free=check_disk(disk.total, trainer.folder),
    )


def _seconds(trainer: Trainer, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if trainer.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def encode_seconds(trainer: Trainer, holdout: list[TrainingImage], class_images: int = 0) -> tuple[int, float]:
    """How many images the latent cache lacks, and the seconds that encoding one takes (0 when none is missing).

    `class_images` are still to come. Encodes what the measured steps need; it stays in the cache for the real run.
    """
    flips = [False, True] if trainer.settings.flip else [False]
    latents = trainer.latents
    missing = latents.missing(trainer.train_images + trainer.class_images, flips)
    missing += latents.missing(holdout, [False])
    examples = [example for group in trainer.epoch_groups(0)[:2] for example in group]
    needed = list({image: None for each in examples for image in (each.image, each.prior) if image is not None})
    times = [_seconds(trainer, lambda p=p, f=f: latents.get(p, f)) for p, f in latents.missing(needed, flips)]  # type: ignore[misc]
    if missing and not times:
        times = [_seconds(trainer, lambda: latents.get(*missing[0]))]
    return len(missing) + class_images * len(flips), statistics.median(times) if times else 0.0


def step_seconds(trainer: Trainer, processes: int) -> float:
    """Median seconds of a few real optimizer steps, the first not counted, of one process's share of the group.

    Raises:
        TrainingError: a loss or gradient was not finite.
    """
    # one process's share; the first step is slower, since it allocates and picks kernels
    groups = [group[::processes] for group in trainer.epoch_groups(0)[:2]]
    times: list[float] = []
    trainer.train_mode()
    while len(times) <= STEPS and (len(times) < 3 or sum(times[1:]) < ENOUGH):
        group = groups[len(times) % len(groups)]
        times.append(_seconds(trainer, lambda group=group: trainer.step(group)))  # type: ignore[misc]
    state = trainer.state
    if state.skipped_in_row:
        raise TrainingError(
            f"{len(state.skipped)} of the first {len(times)} steps had no finite loss or gradient, e.g. with "
            f"{state.skipped[0].images[0]}: lower train.learning_rate or look at the image"
        )
    return statistics.median(times[1:])


def validation_seconds(trainer: Trainer) -> tuple[float, float]:
    """Seconds of one image's held-out loss, and of generating one validation image.

    Generating is measured for one step; each further step counts as two of the held-out loss's forward passes.
    """
    settings, batches = trainer.settings, trainer.batches
    image, prompt = trainer.train_images[0], settings.validation_prompt
    one_step = settings.model_copy(update={"validation_steps": 1})
    sampler = Sampler(trainer.pipe, one_step, trainer.accelerator, trainer.latents.resolution, trainer.stop)
    with trainer.eval_mode():
        held_out = _seconds(trainer, lambda: float(trainer.loss(held_out_batch(batches, image)).mean()))
        generate = _seconds(trainer, lambda: sampler.decode(sampler.sample(prompt, 0)))
    return held_out, generate + (settings.validation_steps - 1) * held_out * 2 / STRATA


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(each) for each in value.values())
    return sum(tensor_bytes(each) for each in value) if isinstance(value, list | tuple) else 0


def disk_use(trainer: Trainer, to_encode: int) -> DiskUse:
    """Bytes that the run writes; to be called after a step, when the optimizer has its state."""
    settings, adapter = trainer.settings, tensor_bytes(trainer.adapter())
    ema = trainer.ema.state_dict() if trainer.ema is not None else None
    checkpoint = adapter + tensor_bytes(trainer.optimizer.state_dict()) + tensor_bytes(ema)
    epochs = settings.epochs * adapter // 2 if settings.keep_epochs else 0
    return DiskUse(
        checkpoint=checkpoint,
        checkpoints=checkpoint * (settings.keep_checkpoints + 1),  # the old one goes after the new one verifies
        adapters=adapter * (settings.epochs + 1) + adapter * 3 + epochs,
        latents=to_encode * tensor_bytes(trainer.latents.get(trainer.train_images[0])),
    )


def check_disk(needed: int, folder: Path) -> int:
    """Bytes free where `folder` is or will be.

    Raises:
        TrainingError: fewer than `needed`.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise TrainingError(
            f"the run writes about {needed / MIB:.0f} MiB, and the disk of {folder} has {free / MIB:.0f} MiB free: "
            "free some, lower train.keep_checkpoints or set train.keep_epochs to false"
        )
    return free


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else (f"{minutes} min {rest} s" if minutes else f"{rest} s")

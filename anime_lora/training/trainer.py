"""One training run's parts, put together once: base, adapters, cached images, optimizer, processes."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from anime_lora.config.section import Base
from anime_lora.config.train import Train
from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.diffusion.device import DTYPES
from anime_lora.diffusion.rng import seed_from
from anime_lora.errors import TrainingError
from anime_lora.lora import adapter as lora
from anime_lora.lora.fused_layers import fuse
from anime_lora.training import losses as objective
from anime_lora.training.batch import Batch, Batches, Visit, epoch_visits
from anime_lora.training.images import TrainingImage, of_split
from anime_lora.training.latent_cache import Latents
from anime_lora.training.optim import Average, build
from anime_lora.training.text_embeddings import Texts


@dataclass
class Run:
    """What the loop works with."""

    settings: Train
    accelerator: Accelerator
    pipe: StableDiffusionPipeline
    batches: Batches
    optimizer: torch.optim.Optimizer
    average: Average | None
    images: list[TrainingImage]
    folder: Path
    """Work folder: checkpoints, epoch adapters, sample strips."""
    fingerprint: str
    name: str = ""
    """What a webui's prompt calls the adapter: its file's name."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained, in a fixed order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def group_size(self) -> int:
        """Images per optimizer step, whatever the number of processes."""
        return self.settings.batch_size * self.settings.gradient_accumulation_steps

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch, the short last one included."""
        return -(-len(of_split(self.images, "train")) // self.group_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, were it not to stop early."""
        return self.settings.epochs * self.steps_per_epoch

    def visits(self, epoch: int) -> list[Visit]:
        """What epoch `epoch` shows, in order."""
        train, priors = of_split(self.images, "train"), of_split(self.images, "prior")
        return epoch_visits(train, priors, self.settings.seed, epoch)

    def mine(self, items: Sequence[Any]) -> list[Any]:
        """This process's share of `items`."""
        return list(items[self.accelerator.process_index :: self.accelerator.num_processes])

    def precision(self) -> AbstractContextManager[None]:
        """autocast where the base is not fp32, for the fp32 adapters in it."""
        if self.settings.precision == "fp32":
            return nullcontext()
        return self.accelerator.autocast()  # type: ignore[no-any-return]

    def predict(self, batch: Batch) -> Tensor:
        """The UNet's output for `batch`, (n, C, h, w)."""
        dtype = DTYPES[self.settings.precision]  # asking the UNet walks through all of its modules
        noisy = batch.noisy.to(dtype).contiguous(memory_format=torch.channels_last)
        with self.precision():
            conditioning = self.batches.texts(batch.texts)
            found: Tensor = self.pipe.unet(noisy, batch.timesteps, conditioning.to(dtype), return_dict=False)[0]
        return found

    def losses(self, visits: Sequence[Visit]) -> Tensor:
        """The weighted loss of each sample of `visits`, class images after the others."""
        batch = self.batches.of(visits)
        return objective.squared_error(self.predict(batch), batch.target) * batch.weights

    @contextmanager
    def dropout_stream(self, visits: Sequence[Visit]) -> Iterator[None]:
        """Adapter dropout reads torch's global generators: within the block they follow from the micro-batch."""
        if self.settings.dropout == 0:
            yield
            return
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed_from("dropout", self.settings.seed, visits[0].epoch, *(v.image.id for v in visits)))
            yield

    def training_mode(self, on: bool) -> None:
        """Dropout and checkpointing on or off."""
        self.pipe.unet.train(on)
        if self.batches.texts.trained:
            self.pipe.text_encoder.train(on)

    def adapter(self) -> dict[str, Tensor]:
        """A copy of the adapters."""
        return lora.adapter_state(self.pipe.unet, self.pipe.text_encoder)


LARGE = 2**23
"""Weights of a convolution from which oneDNN takes up to twice as long with channels_last: more than a cache holds."""


def keep_large_as_they_are(unet: nn.Module) -> None:
    """Weights and inputs of large convolutions in the usual layout."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= LARGE:
            module.weight.data = module.weight.data.contiguous()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))


def prepare_models(pipe: StableDiffusionPipeline, settings: Train, device: torch.device) -> None:
    """Adapters on, base frozen, attention backend and memory layout set, everything on `device`.

    channels_last: convolutions were 1.5x faster so, on CPU (oneDNN) as on tensor cores; not those of `LARGE` on a CPU.
    """
    pipe.unet.to(memory_format=torch.channels_last)  # before the adapters: DoRA needs theirs contiguous
    if device.type == "cpu":
        keep_large_as_they_are(pipe.unet)
    lora.attach(pipe.unet, pipe.text_encoder, settings)
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        module.to(device)
    if settings.attention == "xformers":
        pipe.unet.enable_xformers_memory_efficient_attention()
    if settings.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
        if settings.text_encoder_learning_rate is not None:
            pipe.text_encoder.gradient_checkpointing_enable()
    if settings.compile:
        pipe.unet.compile_repeated_blocks()
    elif settings.precision == "fp32" and not settings.dora and settings.dropout == 0:
        fuse(pipe.unet)
        fuse(pipe.text_encoder)


def open_run(settings: Train, base: Base, path: Path, accelerator: Accelerator, work: tuple[Path, str]) -> Run:
    """A `Run` on the base at `path`; `work` is the cache folder and the run's fingerprint. Images are set after.

    Raises:
        BaseModelError: the base cannot be loaded.
        TrainingError: the base cannot work at `base.resolution`, or the optimizer not here.
    """
    cache, mark = work
    pipe = load_pipeline(path, DTYPES[settings.precision])
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    if base.resolution % (pipe.vae_scale_factor * 8) and base.resolution != side:
        raise TrainingError(
            f"base.resolution is {base.resolution}, but the base works in steps of {pipe.vae_scale_factor * 8} pixels; "
            f"its own is {side}"
        )
    latents = Latents(cache / "latents", pipe.vae, base.resolution)
    return assemble(pipe, settings, accelerator, latents, (work_folder(cache, mark), mark))


def work_folder(cache: Path, mark: str) -> Path:
    """Where the run with fingerprint `mark` keeps its work."""
    return cache / "train" / mark[:16]


def assemble(
    pipe: StableDiffusionPipeline, settings: Train, accelerator: Accelerator, latents: Latents, work: tuple[Path, str]
) -> Run:
    """A `Run` on a loaded pipeline; `work` is the work folder and the run's fingerprint. Images are set after."""
    prepare_models(pipe, settings, accelerator.device)
    texts = Texts(pipe.tokenizer, pipe.text_encoder, settings.text_encoder_learning_rate is not None)
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    batches = Batches(settings, latents, texts, scheduler, accelerator.device)
    trained = [lora.trainables(module) for module in (pipe.unet, pipe.text_encoder)]
    built = build(settings, *trained)
    average = (
        Average([p for named in trained for p in named.values()], settings.ema_decay) if settings.ema_decay else None
    )
    return Run(settings, accelerator, pipe, batches, built, average, [], *work)


def fingerprint(**parts: Any) -> str:
    """Hex sha256 of everything a run's result follows from (params, data, base); processes and device are left out."""
    text = json.dumps({"version": 2, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

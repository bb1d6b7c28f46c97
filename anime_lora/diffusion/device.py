"""The machine training runs on: accelerate's device, processes and precision, and refusals of what it cannot do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from anime_lora.config.section import Compute
from anime_lora.config.train import Train
from anime_lora.errors import TrainingError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
WAIT = timedelta(hours=12)
"""How long processes wait for the first one, which alone encodes images and generates samples."""


def device_name(compute: Compute) -> str:
    """cpu, cuda or mps: what `compute.device` says, or the best there is for `auto`.

    Raises:
        TrainingError: the device asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if compute.device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[compute.device]:
        raise TrainingError(f"compute.device is {compute.device}, but torch finds none here: set it to auto or cpu")
    return compute.device


def check(settings: Train, device: str, processes: int = 1) -> None:
    """Refuse what `device` cannot do, before anything is loaded.

    Raises:
        TrainingError: fp16 or xformers without CUDA, xformers not installed, more processes than GPUs.
    """
    if settings.precision == "fp16" and device != "cuda":
        raise TrainingError(f"train.precision fp16 needs a CUDA GPU, and this is {device}: use fp32, or bf16")
    if settings.attention == "xformers" and device != "cuda":
        raise TrainingError(
            f"train.attention xformers has kernels for CUDA only, and this is {device}: use sdpa (torch's own)"
        )
    if settings.attention == "xformers" and find_spec("xformers") is None:
        raise TrainingError(
            "train.attention xformers: the package is not installed; pip install 'anime-lora[cuda]', or use sdpa"
        )
    gpus = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, processes)
    if processes > gpus:
        raise TrainingError(
            f"compute.processes is {processes}, but {device} has {gpus} here: each process needs one of its own"
        )


def accelerator(settings: Train, device: str) -> Accelerator:
    """accelerate for this process; one per process, a later call starts it anew."""
    AcceleratorState._reset_state()
    waiting = InitProcessGroupKwargs(timeout=WAIT)
    return Accelerator(cpu=device == "cpu", mixed_precision=MIXED[settings.precision], kwargs_handlers=[waiting])


def launched() -> bool:
    """Whether this process was started by a launcher as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """On the CPU, ask torch for reproducible kernels only; leave its switches as they were afterwards.

    With the same number of threads the same inputs give the same bytes. Another number may change last digits:
    sums are then split elsewhere.
    """
    filling: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), filling.fill_uninitialized_memory
    if device == "cpu":
        torch.use_deterministic_algorithms(True)
        filling.fill_uninitialized_memory = False  # nothing here reads uninitialised memory; filling it costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        filling.fill_uninitialized_memory = before[1]

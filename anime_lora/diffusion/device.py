"""The device that torch works on, and what training asks of it: precision, accelerate, reproducible kernels."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from anime_lora.config.train import Train
from anime_lora.errors import DeviceError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""torch's dtype for each `train.precision`."""
MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""accelerate's word for each `train.precision`."""
PROCESS_TIMEOUT = timedelta(hours=12)
"""How long processes wait for the first one, which alone encodes images and generates samples."""
CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where a container's memory limit stands."""


def pick_device(device: str) -> str:
    """`cpu`, `cuda` or `mps`: what `compute.device` asks for, or the best there is for `auto`.

    Raises:
        DeviceError: the device asked for is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[device]:
        raise DeviceError(f"compute.device is {device}, but torch finds none here: set it to auto or cpu")
    return device


def check_device(settings: Train, device: str, processes: int = 1) -> None:
    """Check that `device` can do what the settings ask for, before anything is loaded.

    Raises:
        DeviceError: fp16 or xformers without CUDA, xformers not installed, more processes than GPUs.
    """
    if settings.precision == "fp16" and device != "cuda":
        raise DeviceError(f"train.precision fp16 needs a CUDA GPU, and this is {device}: use fp32, or bf16")
    if settings.attention == "xformers" and device != "cuda":
        raise DeviceError(
            f"train.attention xformers has kernels for CUDA only, and this is {device}: use sdpa (torch's own)"
        )
    if settings.attention == "xformers" and find_spec("xformers") is None:
        raise DeviceError(
            "train.attention xformers: the package is not installed; pip install 'anime-lora[cuda]', or use sdpa"
        )
    devices = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, processes)
    if processes > devices:
        raise DeviceError(
            f"compute.processes is {processes}, but {device} has {devices} here: each process needs one of its own"
        )


def new_accelerator(settings: Train, device: str) -> Accelerator:
    """accelerate for this process; there is one per process, and a later call replaces it."""
    # accelerate keeps its first precision for the life of the process, and raises at another (_check_initialized in
    # https://github.com/huggingface/accelerate/blob/v1.15.0/src/accelerate/state.py)
    AcceleratorState._reset_state()
    timeout = InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT)
    return Accelerator(
        cpu=device == "cpu", mixed_precision=MIXED_PRECISION[settings.precision], kwargs_handlers=[timeout]
    )


def is_launched() -> bool:
    """Whether a launcher (accelerate, torchrun) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def autocast(accelerator: Accelerator, settings: Train) -> AbstractContextManager[None]:
    """accelerate's autocast where the base is not fp32, for the fp32 adapters in it."""
    if settings.precision == "fp32":
        return nullcontext()
    return accelerator.autocast()  # type: ignore[no-any-return]


def memory_peak(device: torch.device) -> int:
    """Bytes this process has needed at most: on the GPU where there is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_total(device: torch.device) -> int:
    """Bytes there are: the GPU's, else the machine's or its container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    physical = int(psutil.virtual_memory().total)
    return min(physical, int(limit)) if limit.isdigit() else physical


@contextmanager
def room_in_memory(settings: Train, device: torch.device) -> Iterator[None]:
    """Turn a full GPU into one clear error.

    Raises:
        DeviceError: a training step does not fit into the memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"train.batch_size = {settings.batch_size} does not fit into {memory_total(device) / 2**30:.1f} GiB: "
            "lower it and raise train.gradient_accumulation_steps, or set train.gradient_checkpointing"
        ) from error


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """On the CPU, ask torch for reproducible kernels only; leave its switches as they were afterwards.

    With the same number of threads the same inputs give the same bytes. Another number may change last digits:
    sums are then split elsewhere.
    """
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    if device == "cpu":
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False  # nothing here reads uninitialised memory; filling it costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]

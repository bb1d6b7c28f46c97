"""What a run costs, measured on a few of its real parts: seconds, bytes of memory, bytes on disk."""

import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from anime_lora.diffusion.rng import groups
from anime_lora.errors import TrainingError
from anime_lora.training import heldout, preview
from anime_lora.training.images import of_split
from anime_lora.training.loop import take_step
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import Run
from anime_lora.training.validation import eval_mode

STEPS = 5
ENOUGH = 15.0
"""Seconds of measured steps after which no further one is taken."""
CGROUP = Path("/sys/fs/cgroup/memory.max")


@contextmanager
def fitting(run: Run) -> Iterator[None]:
    """Turn a full GPU into one clear error.

    Raises:
        TrainingError: the step does not fit into the memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"train.batch_size = {run.settings.batch_size} does not fit into {memory_total(run) / 2**30:.1f} GiB: "
            "lower it and raise train.gradient_accumulation_steps, or set train.gradient_checkpointing"
        ) from error


def _seconds(run: Run, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if run.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def encode_seconds(run: Run, absent: int = 0) -> tuple[int, float]:
    """How many images the latent cache lacks, and the seconds that encoding one takes (0 when none is missing).

    `absent` class images are still to come. Encodes what the measured steps need; it stays in the cache for the
    real run.
    """
    flips = [False, True] if run.settings.flip else [False]
    latents = run.batches.latents
    missing = latents.missing(of_split(run.images, "train") + of_split(run.images, "prior"), flips)
    missing += latents.missing(of_split(run.images, "holdout"), [False])
    shown = run.visits(0)[: 2 * run.group_size]
    needed = list({p: None for v in shown for p in (v.image, v.prior) if p is not None})
    times = [_seconds(run, lambda p=p, f=f: latents.get(p, f)) for p, f in latents.missing(needed, flips)]  # type: ignore[misc]
    if missing and not times:
        times = [_seconds(run, lambda: latents.get(*missing[0]))]
    return len(missing) + absent * len(flips), statistics.median(times) if times else 0.0


def step_seconds(run: Run, processes: int) -> float:
    """Median seconds of a few real optimizer steps, the first not counted, of one process's share of the group.

    Moves the adapters: the run is no good for training afterwards.

    Raises:
        TrainingError: a loss or gradient was not finite.
    """
    parts = [part[::processes] for part in groups(run.visits(0), run.group_size)[:2]]
    state, times = State(), list[float]()
    run.training_mode(True)
    while len(times) <= STEPS and (len(times) < 3 or sum(times[1:]) < ENOUGH):
        part = parts[len(times) % len(parts)]
        times.append(_seconds(run, lambda part=part: take_step(run, state, part, Stop())))  # type: ignore[misc]
    if state.bad_in_row:
        raise TrainingError(
            f"{len(state.bad)} of the first {len(times)} steps had no finite loss or gradient, e.g. with "
            f"{state.bad[0]['pictures'][0]}: lower train.learning_rate or look at the image"
        )
    return statistics.median(times[1:])


def validation_seconds(run: Run) -> tuple[float, float]:
    """Seconds of one image's held-out loss, and of generating one validation image.

    Generating is measured for one step; each further step counts as two of the held-out loss's forward passes.
    """
    image = of_split(run.images, "train")[0]
    short = replace(run, settings=run.settings.model_copy(update={"validation_steps": 1}))
    prompt = run.settings.validation_prompt
    with eval_mode(run):
        held = _seconds(run, lambda: heldout.loss(image, run.predict, run.batches))
        generation = _seconds(run, lambda: preview.decode(short, preview.sample(short, prompt, 0, Stop())))
    return held, generation + (run.settings.validation_steps - 1) * held * 2 / heldout.STRATA


def memory_peak(run: Run) -> int:
    """Bytes this process has needed at most: on the GPU where there is one."""
    if run.accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_total(run: Run) -> int:
    """Bytes there are: the GPU's, else the machine's or its container's limit."""
    if run.accelerator.device.type == "cuda":
        return int(torch.cuda.get_device_properties(run.accelerator.device).total_memory)
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    physical = int(psutil.virtual_memory().total)
    return min(physical, int(limit)) if limit.isdigit() else physical


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(each) for each in value.values())
    return sum(tensor_bytes(each) for each in value) if isinstance(value, list | tuple) else 0


def disk_bytes(run: Run, missing: int) -> dict[str, int]:
    """Bytes that the run writes, by what; called after a step, when the optimizer has its state."""
    settings, adapter = run.settings, tensor_bytes(run.adapter())
    average = run.average.state() if run.average is not None else None
    checkpoint = adapter + tensor_bytes(run.optimizer.state_dict()) + tensor_bytes(average)
    epochs = settings.epochs * adapter // 2 if settings.keep_epochs else 0
    return {
        "checkpoint": checkpoint,
        "checkpoints": checkpoint * (settings.keep_checkpoints + 1),  # the old one goes after the new one verifies
        "adapters": adapter * (settings.epochs + 1) + adapter * 3 + epochs,
        "latents": missing * tensor_bytes(run.batches.latents.get(of_split(run.images, "train")[0])),
    }


def room(needed: int, folder: Path) -> int:
    """Bytes free where `folder` is or will be.

    Raises:
        TrainingError: fewer than `needed`.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise TrainingError(
            f"the run writes about {needed / 2**20:.0f} MiB, and the disk of {folder} has {free / 2**20:.0f} MiB free: "
            "free some, lower train.keep_checkpoints or set train.keep_epochs to false"
        )
    return free

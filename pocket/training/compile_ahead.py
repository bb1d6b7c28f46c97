"""`torch.compile` without waiting for it: a second process compiles while the first trains.

With a dozen renderers on the cores, compiling the UNet's step took 96 s of a budget of 566 s. The second process fills
inductor's cache on disk; the trainer goes on uncompiled until a hit in that cache is known to take seconds.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pocket.models import shapes

log = logging.getLogger(__name__)
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From noisy latents, time steps and text states to the UNet's prediction."""


def unet_function(unet: UNet2DConditionModel) -> Predict:
    """The call that is compiled, written once so that both processes compile the same code."""

    def predict(noisy: Tensor, times: Tensor, states: Tensor) -> Tensor:
        predicted: Tensor = unet(noisy, times, states).sample
        return predicted

    return predict


class CompileAhead:
    """Compiles the UNet's step in other processes from now on; `hit_seconds` appears when that is done."""

    def __init__(self, edition: shapes.Edition, batch: int, device: str, backend: str = "inductor") -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.hit_seconds, self.backend = Path(self._folder.name) / "seconds", backend
        arguments = (edition, batch, device, self.hit_seconds, backend)
        self.compiler = threading.Thread(target=_compile_twice, args=arguments, daemon=True)
        self.compiler.start()


class CompiledLater:
    """Calls the UNet as it is until compiling it costs little of the time until `end`, then compiled."""

    def __init__(self, unet: UNet2DConditionModel, ahead: CompileAhead, end: float) -> None:
        self._plain = self._call = unet_function(unet)
        self._ahead, self._end = ahead, end

    @property
    def compiled(self) -> bool:
        """Whether calls go to the compiled UNet."""
        return self._call is not self._plain

    def __call__(self, noisy: Tensor, times: Tensor, states: Tensor) -> Tensor:
        """The UNet's prediction (n, c, h, w)."""
        if not self.compiled and self._ahead.hit_seconds.exists():
            seconds = float(self._ahead.hit_seconds.read_text())
            self._ahead.hit_seconds.unlink()
            if self._end - time.monotonic() > 4 * seconds:
                log.info("switching to the compiled UNet; a cache hit took %.1f s", seconds)
                self._call = torch.compile(self._plain, backend=self._ahead.backend)
        return self._call(noisy, times, states)


def _compile_twice(edition: shapes.Edition, batch: int, device: str, seconds: Path, backend: str) -> None:
    """Compile in fresh processes: the first fills the cache, the second says how long a hit takes."""
    for attempt in ("first compilation", "cache hit"):
        process = get_context("spawn").Process(target=compile_unet, args=(edition, batch, device, seconds, backend))
        process.start()
        process.join()
        if process.exitcode:
            log.warning("%s of the UNet failed with exit code %d: it stays uncompiled", attempt, process.exitcode)
            return
        log.info("%s of the UNet took %s s", attempt, seconds.with_suffix(".tmp").read_text())
    seconds.with_suffix(".tmp").replace(seconds)


def compile_unet(edition: shapes.Edition, batch: int, device: str, seconds: Path, backend: str) -> None:
    """Compile one training step of a new UNet and write beside `seconds` how long it took."""
    side = shapes.RESOLUTION // shapes.DOWNSCALE
    set_up_device(device)
    unet = shapes.unet(edition).to(device, memory_format=torch.channels_last).train()
    noisy = torch.randn((batch, edition.latent_channels, side, side), device=device)
    states = torch.randn((batch, 77, shapes.TEXT_WIDTH), device=device, requires_grad=True)
    times = torch.randint(0, 1000, (batch,), device=device)
    start = time.monotonic()
    with mixed_precision(device):
        predicted = torch.compile(unet_function(unet), backend=backend)(
            noisy.contiguous(memory_format=torch.channels_last), times, states
        )
    predicted.float().mean().backward()  # type: ignore[no-untyped-call]
    if unet.device.type == "cuda":
        torch.cuda.synchronize()
    seconds.with_suffix(".tmp").write_text(f"{time.monotonic() - start:.1f}")


def set_up_device(device: str) -> None:
    """Matrix products in TF32 where the GPU has it; cuDNN's benchmark stays off, since it slowed the first steps."""
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = False


def mixed_precision(device: str) -> torch.autocast:
    """bf16 on a GPU, nothing on a CPU."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")

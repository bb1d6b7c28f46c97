"""Processes: starting several for one training, adding up what they computed, and stopping all at the same step."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from anime_lora.errors import AnimeLoraError, TrainingError

T = TypeVar("T")
STOPPED = 75
"""Exit code after a signal, with the work saved: the same command goes on from there (sysexits' EX_TEMPFAIL)."""
LAUNCHED = "ANIME_LORA_LAUNCHED"
"""Set for launched processes, to a folder for their errors: one that is not part of a group must stop, not launch."""
SHUTDOWN_TIMEOUT = 600
"""Seconds the launcher gives the processes to finish their accumulation group and save after a signal."""


class StopRequestedError(Exception):
    """A stop was requested; whoever has work to save catches it and saves."""


class Stop:
    """Whether a stop was requested: of this process, and of several processes of any.

    `requested` is this process's own and only ever set. Several processes must stop at the same step: `agreed` is
    their common answer at the last step, None before the first.
    """

    def __init__(self) -> None:
        self.requested = False
        self.agreed: bool | None = None

    def request(self, number: int, _: FrameType | None) -> None:
        """Signal handler: the first signal requests a stop, the second leaves at once with 128 + its number."""
        if self.requested:
            os._exit(128 + number)
        self.requested = True
        print("stop requested: finishing the accumulation group (a second signal leaves at once)", flush=True)

    def check(self) -> None:
        """Raise StopRequestedError when a signal came and, where there are several processes, all of them know."""
        if self.requested if self.agreed is None else self.agreed:
            raise StopRequestedError


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that SIGTERM and SIGINT request within the block (only in the main thread can signals be handled).

    Raises:
        SystemExit: with `STOPPED`, when the block ended in a StopRequestedError.
    """
    stop = Stop()
    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGINT) if main else ()
    before = {number: signal.signal(number, stop.request) for number in signals}
    try:
        yield stop
    except StopRequestedError:
        print(f"stopped; run the same command to go on (exit code {STOPPED})", flush=True)
        raise SystemExit(STOPPED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def own_share(accelerator: Accelerator, items: Sequence[T]) -> list[T]:
    """This process's share of `items`: every n-th of n processes."""
    return list(items[accelerator.process_index :: accelerator.num_processes])


def summed(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The sum of `values` over the processes, on the CPU of every one of them."""
    if accelerator.num_processes == 1 or not len(values):
        return values
    total: Tensor = accelerator.reduce(values.to(accelerator.device), "sum").cpu()
    return total


def sum_gradients(accelerator: Accelerator, parameters: Sequence[nn.Parameter], loss: Tensor, stop: Stop) -> Tensor:
    """Sum gradients, loss and requests to stop over the processes; returns the loss. For one process nothing to do."""
    if accelerator.num_processes == 1:
        return loss
    for parameter in parameters:
        if parameter.grad is None:  # in a short last group this process may have had no image
            parameter.grad = torch.zeros_like(parameter)
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    requested = torch.tensor([float(stop.requested)], device=loss.device)
    # one message for all: reducing each tensor alone would wait for the network hundreds of times a step
    flat = torch.cat([*(grad.reshape(-1) for grad in grads), loss.reshape(1), requested])
    total: Tensor = accelerator.reduce(flat, "sum")
    start = 0
    for grad in grads:
        grad.copy_(total[start : start + grad.numel()].view_as(grad))
        start += grad.numel()
    stop.agreed = bool(total[-1] > 0)
    return total[-2]


def launch_command(processes: int, device: str) -> list[str]:
    """The command that runs the train stage `processes` times, as ranks of one group on this machine.

    `accelerate launch` starts several processes without a GPU only through MPI; torchrun's ranks accelerate joins too.
    """
    stage = ["-m", "anime_lora", "train"]
    if device == "cpu":
        place = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
        timeout = ["--shutdown-timeout", str(SHUTDOWN_TIMEOUT)]
        return [sys.executable, "-m", "torch.distributed.run", *place, *timeout, *stage]
    counts = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    fixed = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *counts, *fixed, *stage]


def launch(processes: int, device: str) -> None:
    """Run the stage in `processes` processes and wait; signals are passed on, and each process saves its work.

    Raises:
        TrainingError: a process failed (it has printed why).
        SystemExit: after a signal, with the code of a stop.
    """
    if os.environ.get(LAUNCHED):
        raise TrainingError("the launcher started this process, but not as one of several: set compute.processes to 1")
    threads = max(1, (os.cpu_count() or 1) // processes)  # otherwise each process takes every core
    with stop_on_signals() as stop, TemporaryDirectory() as errors:
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, LAUNCHED: errors}
        # a session of its own: Ctrl-C reaches this process alone, which passes one signal on
        child = subprocess.Popen(launch_command(processes, device), env=environment, start_new_session=True)
        code = _wait(child, stop)
        reason = next((file.read_text(encoding="utf-8") for file in Path(errors).iterdir()), "its reason stands above")
    if code == 0:
        return
    if stop.requested:
        raise SystemExit(STOPPED)
    raise TrainingError(f"one of {processes} training processes failed (exit code {code}): {reason}")


def _wait(child: subprocess.Popen[bytes], stop: Stop) -> int:
    """The exit code of `child`, which is sent SIGTERM once when a stop is requested."""
    terminated = False
    while True:
        try:
            return child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if stop.requested and not terminated:
                terminated = True
                child.terminate()


@contextmanager
def errors_for_launcher() -> Iterator[None]:
    """In a launched process, leave an error's message for `launch`, which prints it last: after the others' output."""
    try:
        yield
    except AnimeLoraError as error:
        if os.environ.get(LAUNCHED):
            with suppress(OSError):
                Path(os.environ[LAUNCHED], str(os.getpid())).write_text(str(error), encoding="utf-8")
        raise

"""Several training processes on this machine: the stage starts itself again through a launcher."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from anime_lora.errors import AnimeLoraError, TrainingError
from anime_lora.training.stop import STOPPED, listening

MARK = "ANIME_LORA_LAUNCHED"
"""Set for launched processes, to a folder for their reasons: one that is not part of a group must stop, not launch."""
PATIENCE = 600
"""Seconds the launcher gives the processes to finish their accumulation group and save after a signal."""


def command(processes: int, device: str) -> list[str]:
    """The command that runs the train stage `processes` times, as ranks of one group on this machine.

    `accelerate launch` starts several processes without a GPU only through MPI; torchrun's ranks accelerate joins too.
    """
    stage = ["-m", "anime_lora", "train"]
    if device == "cpu":
        place = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
        return [sys.executable, "-m", "torch.distributed.run", *place, "--shutdown-timeout", str(PATIENCE), *stage]
    counts = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    fixed = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *counts, *fixed, *stage]


def environment(processes: int, reasons: str) -> dict[str, str]:
    """This process's environment with the mark, and the cores shared out where nobody said how many threads."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    return {"OMP_NUM_THREADS": str(threads), **os.environ, MARK: reasons}


@contextmanager
def reporting() -> Iterator[None]:
    """In a launched process, leave an error's message for the stage that launched it: the others' noise follows."""
    try:
        yield
    except AnimeLoraError as error:
        if os.environ.get(MARK):
            with suppress(OSError):
                Path(os.environ[MARK], str(os.getpid())).write_text(str(error), encoding="utf-8")
        raise


def relaunch(processes: int, device: str) -> None:
    """Run the stage in `processes` processes and wait; signals are passed on, and each saves its work.

    Raises:
        TrainingError: a process failed (it has printed why).
        SystemExit: after a signal, with the code of a polite stop.
    """
    if os.environ.get(MARK):
        raise TrainingError("the launcher started this process, but not as one of several: set compute.processes to 1")
    with listening() as stop, TemporaryDirectory() as reasons:
        # a session of its own: Ctrl-C reaches this process alone, which passes one signal on
        whole = environment(processes, reasons)
        child = subprocess.Popen(command(processes, device), env=whole, start_new_session=True)
        signalled = False
        while True:
            try:
                code = child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if stop.requested and not signalled:
                    signalled = True
                    child.terminate()
        reason = next((file.read_text(encoding="utf-8") for file in Path(reasons).iterdir()), "its reason stands above")
    if code == 0:
        return
    if stop.requested:
        raise SystemExit(STOPPED)
    raise TrainingError(f"one of {processes} training processes failed (exit code {code}): {reason}")

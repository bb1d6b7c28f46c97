"""Several training processes on this machine: the stage starts itself again through accelerate's launcher."""

import os
import subprocess
import sys

from anime_lora.errors import TrainingError
from anime_lora.training.stop import STOPPED, listening

MARK = "ANIME_LORA_LAUNCHED"
"""Set for launched processes: one that is not part of a group must stop, not launch again."""


def command(processes: int, device: str) -> list[str]:
    """The command that runs the train stage `processes` times, as ranks of one group."""
    place = ["--cpu", "--num_cpu_threads_per_process", "1"] if device == "cpu" else ["--multi_gpu"]
    counts = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    fixed = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *place, *counts, *fixed, "-m", "anime_lora", "train"]


def relaunch(processes: int, device: str) -> None:
    """Run the stage in `processes` processes and wait; signals are passed on, and each saves its work.

    Raises:
        TrainingError: a process failed (it has printed why).
        SystemExit: after a signal, with the code of a polite stop.
    """
    if os.environ.get(MARK):
        raise TrainingError("the launcher started this process, but not as one of several: set compute.processes to 1")
    with listening() as stop:
        child = subprocess.Popen(command(processes, device), env={**os.environ, MARK: "1"})
        signalled = False
        while True:
            try:
                code = child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if stop.requested and not signalled:
                    signalled = True
                    child.terminate()
        if stop.requested:
            raise SystemExit(STOPPED)
    if code != 0:
        raise TrainingError(f"one of {processes} training processes failed (exit code {code}); its reason stands above")

"""Several training processes on this machine: the stage starts itself again through a launcher."""

import os
import subprocess
import sys

from anime_lora.errors import TrainingError
from anime_lora.training.stop import STOPPED, listening

MARK = "ANIME_LORA_LAUNCHED"
"""Set for launched processes: one that is not part of a group must stop, not launch again."""
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


def environment(processes: int) -> dict[str, str]:
    """This process's environment with the mark, and the cores shared out where nobody said how many threads."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    return {"OMP_NUM_THREADS": str(threads), **os.environ, MARK: "1"}


def relaunch(processes: int, device: str) -> None:
    """Run the stage in `processes` processes and wait; signals are passed on, and each saves its work.

    Raises:
        TrainingError: a process failed (it has printed why).
        SystemExit: after a signal, with the code of a polite stop.
    """
    if os.environ.get(MARK):
        raise TrainingError("the launcher started this process, but not as one of several: set compute.processes to 1")
    with listening() as stop:
        # a session of its own: Ctrl-C reaches this process alone, which passes one signal on
        child = subprocess.Popen(command(processes, device), env=environment(processes), start_new_session=True)
        signalled = False
        while True:
            try:
                code = child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if stop.requested and not signalled:
                    signalled = True
                    child.terminate()
    if code == 0:
        return
    if stop.requested:
        raise SystemExit(STOPPED)
    raise TrainingError(f"one of {processes} training processes failed (exit code {code}); its reason stands above")

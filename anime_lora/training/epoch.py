"""The end of an epoch: held-out loss, sample strip, the epoch's adapter; none of it moves what is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anime_lora.files import write_bytes
from anime_lora.training import heldout, preview
from anime_lora.training.pictures import Picture, of_split
from anime_lora.training.run import Run
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from anime_lora.training.tensorfile import serialized


def adapter_file(folder: Path, epoch: int) -> Path:
    """Where the work folder keeps an epoch's adapter (fp32, PEFT names)."""
    return folder / "epochs" / f"epoch-{epoch:02d}.safetensors"


def strip_file(folder: Path, epoch: int) -> Path:
    """Where the sample strip of an epoch lies, in the work folder and in the stage's output."""
    return folder / "samples" / f"epoch-{epoch:02d}.png"


@contextmanager
def judged_weights(run: Run) -> Iterator[None]:
    """Eval mode without gradients, on the running average where there is one; all as before afterwards."""
    if run.average is not None:
        run.average.swap()
    run.training_mode(False)
    try:
        with torch.no_grad():
            yield
    finally:
        run.training_mode(True)
        if run.average is not None:
            run.average.swap()


def judge(run: Run, state: State, stop: Stop) -> None:
    """Judge the epoch that has just been trained, or the untrained base as epoch 0, and count it in `state`.

    A stop asked for meanwhile raises StopAskedError with `state` unmoved: the judgement is done again on resume.
    """
    epoch = len(state.epochs)
    with judged_weights(run):
        row = {"epoch": epoch, "step": state.step, **held_out(run, stop)}
        if run.accelerator.is_main_process:
            write_bytes(adapter_file(run.folder, epoch), serialized(run.adapter(), {}))
            preview.draw_strip(run, strip_file(run.folder, epoch), stop)
    run.accelerator.wait_for_everyone()
    state.end_epoch(row)
    state.stopped_early = out_of_patience(state.epochs, run.settings.patience)
    if run.accelerator.is_main_process:
        print(f"epoch {epoch}: {described(row)}", flush=True)


def described(row: dict[str, Any]) -> str:
    """A row of the held-out table as a line of text."""
    if row["heldout"] is None:
        return f"{row['step']} steps, no held-out pictures"
    return f"held-out loss {row['heldout']:.5f}, train probe {row['probe']:.5f}, gap {row['gap']:+.5f}"


def held_out(run: Run, stop: Stop) -> dict[str, float | None]:
    """Held-out loss, the train probe's over as many pictures, and the gap between; None without held-out pictures."""
    holdout = of_split(run.pictures, "holdout")[: run.settings.heldout_images]
    probe = of_split(run.pictures, "train")[: len(holdout)]
    means = [_mean_loss(run, pictures, stop) for pictures in (holdout, probe)]
    if means[0] is None or means[1] is None:
        return {"heldout": means[0], "probe": means[1], "gap": None}
    return {"heldout": means[0], "probe": means[1], "gap": means[0] - means[1]}


def _mean_loss(run: Run, pictures: list[Picture], stop: Stop) -> float | None:
    """Mean held-out loss, each process measuring its share; the sum runs in the pictures' order on every one."""
    if not pictures:
        return None
    alone = run.accelerator.num_processes == 1
    found = torch.zeros(len(pictures))
    for place in run.mine(range(len(pictures))):
        found[place] = heldout.loss(pictures[place], run.predict, run.batches)
        if alone:
            stop.check()
    whole: Tensor = found if alone else run.accelerator.reduce(found.to(run.accelerator.device), "sum").cpu()
    return float(whole.double().mean())


def out_of_patience(rows: list[dict[str, Any]], patience: int | None) -> bool:
    """Whether the held-out loss has not improved for `patience` epochs."""
    losses = [row["heldout"] for row in rows]
    if patience is None or None in losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= patience

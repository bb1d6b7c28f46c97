"""The end of an epoch: held-out loss, samples and their style, the adapter; none of it moves what is trained."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anime_lora.diffusion.tensor_file import serialize
from anime_lora.errors import TrainingError
from anime_lora.files import sha256_file, write_bytes
from anime_lora.training import heldout, preview, style
from anime_lora.training.checkpoint import sync_folder
from anime_lora.training.images import TrainingImage, of_split
from anime_lora.training.selection import out_of_patience
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import Run


def adapter_file(folder: Path, epoch: int) -> Path:
    """Where the work folder keeps an epoch's adapter (fp32, PEFT names)."""
    return folder / "epochs" / f"epoch-{epoch:02d}.safetensors"


def strip_file(folder: Path, epoch: int) -> Path:
    """Where the sample strip of an epoch lies, in the work folder and in the stage's output."""
    return folder / "samples" / f"epoch-{epoch:02d}.png"


def kept(folder: Path, epoch: int) -> dict[str, str]:
    """The work folder's files of an epoch, flushed to the disk, with their sha256: publishing needs them."""
    files = sorted(folder.glob(f"*/epoch-{epoch:02d}.*"))
    for each in {folder, *(file.parent for file in files)}:
        sync_folder(each)
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in files}


@contextmanager
def eval_mode(run: Run) -> Iterator[None]:
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


def validate(run: Run, state: State, stop: Stop) -> None:
    """Validate the epoch that has just been trained, or the untrained base as epoch 0, and count it in `state`.

    A stop asked for meanwhile raises StopAskedError with `state` unmoved: validation is done again on resume.

    Raises:
        TrainingError: the base alone has no finite held-out loss.
    """
    epoch = len(state.epochs)
    with eval_mode(run):
        row = {"epoch": epoch, "step": state.step, **held_out(run, stop)}
        refuse_broken_base(run, row)
        generated: list[Tensor] = []
        if run.accelerator.is_main_process:
            write_bytes(adapter_file(run.folder, epoch), serialize(run.adapter(), {}))
            generated = preview.generate_strip(run, strip_file(run.folder, epoch), stop, trained=epoch > 0)
        row["style"] = style_distance(run, generated)
    run.accelerator.wait_for_everyone()
    state.end_epoch(row)
    if run.accelerator.is_main_process:
        state.files |= kept(run.folder, epoch)
    state.stopped_early = out_of_patience(state.epochs, run.settings.patience)
    if run.accelerator.is_main_process:
        print(f"epoch {epoch}: {described(row)}", flush=True)


def refuse_broken_base(run: Run, row: dict[str, Any]) -> None:
    """Stop before anything is trained when nothing could be compared with the base.

    Raises:
        TrainingError: a held-out loss of epoch 0 is not finite.
    """
    bad = [n for n, loss in enumerate(row["each"]) if loss is None]
    if bad and row["epoch"] == 0:
        name = of_split(run.images, "holdout")[bad[0]].name
        precise = run.settings.precision == "fp32"
        cure = "at the weights of base.model" if precise else "set train.precision to bf16 or fp32"
        raise TrainingError(
            f"the base alone has no finite loss on {len(bad)} of {len(row['each'])} held-out images, e.g. {name}: "
            f"look at them, or {cure} (train.precision is {run.settings.precision})"
        )


def described(row: dict[str, Any]) -> str:
    """A row of the held-out table as a line of text."""
    if not row["each"]:
        return f"{row['step']} steps, no held-out images"
    columns = {"held-out loss": ("heldout", ".5f"), "train probe": ("probe", ".5f"), "gap": ("gap", "+.5f")}
    parts = [
        f"{words} {'not finite' if row[name] is None else format(row[name], form)}"
        for words, (name, form) in columns.items()
    ]
    return ", ".join(parts) + ("" if row["style"] is None else f", style distance {row['style']:.3f}")


def finite(value: float) -> float | None:
    """`value`, or None for NaN and infinity, which no record can hold."""
    return value if math.isfinite(value) else None


def held_out(run: Run, stop: Stop) -> dict[str, Any]:
    """Held-out loss, the train probe's over as many images, and the gap between; None without held-out images.

    `each` holds the loss of every held-out image: the same images and noise in each epoch. What is not finite is
    None.
    """
    holdout = of_split(run.images, "holdout")[: run.settings.heldout_images]
    probe = of_split(run.images, "train")[: len(holdout)]
    each, trained = (_losses(run, images, stop) for images in (holdout, probe))
    if not each or not trained:
        return {"heldout": None, "probe": None, "gap": None, "each": []}
    means = [sum(losses) / len(losses) for losses in (each, trained)]
    found = {"heldout": means[0], "probe": means[1], "gap": means[0] - means[1]}
    return {**{name: finite(value) for name, value in found.items()}, "each": [finite(loss) for loss in each]}


def _losses(run: Run, images: list[TrainingImage], stop: Stop) -> list[float]:
    """The loss of each image, each process measuring its share; the same on every one."""
    alone = run.accelerator.num_processes == 1
    found = torch.zeros(len(images))
    for place in run.mine(range(len(images))):
        found[place] = heldout.loss(images[place], run.predict, run.batches)
        if alone:
            stop.check()
    return [float(value) for value in _summed(run, found)]


def _summed(run: Run, values: Tensor) -> Tensor:
    """The sum over the processes, on every one of them."""
    if run.accelerator.num_processes == 1 or not len(values):
        return values
    whole: Tensor = run.accelerator.reduce(values.to(run.accelerator.device), "sum").cpu()
    return whole


def style_distance(run: Run, generated: list[Tensor]) -> float | None:
    """Mean distance of the validation images' latents from the held-out images'; None without two of those, or
    when it is not finite.

    Only the first process generates; it tells the others, who must agree on when to stop.
    """
    images = of_split(run.images, "holdout") if run.settings.heldout_images else []
    if len(images) < 2:
        return None
    found = torch.zeros(run.settings.validation_images)
    if generated:
        found = torch.tensor(style.distances(generated, [run.batches.latents.get(image)[0] for image in images]))
    return finite(float(_summed(run, found).double().mean()))

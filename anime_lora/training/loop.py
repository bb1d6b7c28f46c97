"""The training loop: epochs of accumulation groups, each one optimizer step, resumable at any of them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from anime_lora.diffusion.rng import groups
from anime_lora.errors import TrainingError
from anime_lora.progress import Progress
from anime_lora.training import optim
from anime_lora.training.batch import Visit
from anime_lora.training.resume import save
from anime_lora.training.state import State
from anime_lora.training.stop import Stop, StopAskedError
from anime_lora.training.trainer import Run
from anime_lora.training.validation import validate


def train_epochs(run: Run, state: State, stop: Stop) -> None:
    """Train from `state` to the last epoch (or early stop); a stop leaves a checkpoint and raises StopAskedError."""
    try:
        if not state.epochs:
            validate(run, state, stop)
        with Progress("train", "train", run.total_steps, unit="step", done=state.step) as progress:
            while state.epoch < run.settings.epochs and not state.stopped_early:
                _epoch(run, state, stop, progress)
    except StopAskedError:
        save(run, state)
        raise


def _epoch(run: Run, state: State, stop: Stop, progress: Progress) -> None:
    """The rest of the epoch `state` stands in, then its validation and a checkpoint."""
    parts = groups(run.visits(state.epoch), run.group_size)
    run.training_mode(True)
    for part in parts[state.group :]:
        row = take_step(run, state, part, stop)
        progress.update(1, epoch=state.epoch + 1, loss=row["loss"], lr=row["lr"])
        stop.check()
        if state.step % run.settings.checkpoint_every == 0 and state.group < len(parts):
            save(run, state)
    validate(run, state, stop)
    save(run, state)


def take_step(run: Run, state: State, part: Sequence[Visit], stop: Stop) -> dict[str, float | int | None]:
    """One optimizer step on one accumulation group; counts it in `state` and returns its row of the loss table.

    The gradient is the mean over the group's images, however they fall into micro-batches and processes.
    A loss or gradient that is not finite skips the update.

    Raises:
        TrainingError: too many skipped steps in a row.
    """
    settings = run.settings
    factor = optim.rate_factor(state.step, run.total_steps, settings.schedule, settings.warmup_steps)
    rate = optim.set_rate(run.optimizer, factor)
    run.optimizer.zero_grad(set_to_none=True)
    loss = share(run, accumulate(run, part), stop)
    scaler = run.accelerator.scaler
    if scaler is not None:
        scaler.unscale_(run.optimizer)
    length = torch.nn.utils.clip_grad_norm_(run.parameters, settings.max_grad_norm)
    value, norm = torch.stack([loss, length.to(loss.device)]).tolist()
    finite = math.isfinite(value) and math.isfinite(norm)
    if finite:
        run.optimizer.step() if scaler is None else scaler.step(run.optimizer)
        if run.average is not None:
            run.average.update()
    if scaler is not None:
        scaler.update()
    row = {"step": state.step + 1, "epoch": state.epoch + 1, "loss": value if finite else None, "lr": rate}
    state.count(row)
    if not finite:
        # fp16 overflows now and then while the loss scale settles; that is not a fault of the images
        settling = scaler is not None and math.isfinite(value) and scaler.get_scale() > 1
        note_bad(run, state, part, settling)
    else:
        state.bad_in_row = 0
    return row


def accumulate(run: Run, part: Sequence[Visit]) -> Tensor:
    """Backward through this process's micro-batches; returns its share of the group's mean loss."""
    total = torch.zeros((), device=run.accelerator.device)
    scaler = run.accelerator.scaler
    for micro in groups(run.mine(part), run.settings.batch_size):
        with run.dropout_stream(micro):
            loss = run.losses(micro).sum() / len(part)
            (loss if scaler is None else scaler.scale(loss)).backward()
        total += loss.detach()
    return total


def share(run: Run, loss: Tensor, stop: Stop) -> Tensor:
    """Sum gradients, loss and wishes to stop over the processes; with one process, nothing to do."""
    if run.accelerator.num_processes == 1:
        return loss
    for parameter in run.parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [parameter.grad for parameter in run.parameters if parameter.grad is not None]
    asked = torch.tensor([float(stop.requested)], device=loss.device)
    whole = torch.cat([*(grad.reshape(-1) for grad in grads), loss.reshape(1), asked])
    flat: Tensor = run.accelerator.reduce(whole, "sum")
    start = 0
    for grad in grads:
        grad.copy_(flat[start : start + grad.numel()].view_as(grad))
        start += grad.numel()
    stop.agreed = bool(flat[-1] > 0)
    return flat[-2]


def note_bad(run: Run, state: State, part: Sequence[Visit], settling: bool) -> None:
    """Put a skipped step on record, with its images and timesteps.

    Raises:
        TrainingError: `train.max_bad_steps` in a row.
    """
    samples = run.batches.samples(part)
    images, steps = [image.name for _, image, _ in samples], [run.batches.timestep(*each) for each in samples]
    state.bad.append({"step": state.step, "pictures": images, "timesteps": steps})
    state.bad_in_row += 0 if settling else 1
    print(f"step {state.step}: loss or gradient is not finite, update skipped ({shown(state.bad[-1])})", flush=True)
    if state.bad_in_row >= run.settings.max_bad_steps:
        listed = "\n".join(f"  step {bad['step']}: {shown(bad)}" for bad in state.bad[-state.bad_in_row :])
        raise TrainingError(
            f"{state.bad_in_row} steps in a row had no finite loss or gradient (limit train.max_bad_steps); lower "
            f"train.learning_rate or look at these images:\n{listed}"
        )


def shown(bad: dict[str, Any]) -> str:
    """The images of a skipped step, each with its timestep."""
    return ", ".join(f"{name} at t={t}" for name, t in zip(bad["pictures"], bad["timesteps"], strict=True))

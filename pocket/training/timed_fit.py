"""A training loop that ends at a given time instead of after a given number of steps."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pocket.training.fit import MovingAverage
from pocket.training.recipe import PhaseRecipe

log = logging.getLogger(__name__)
TimedLoss = Callable[[], Tensor]
"""Samples a batch and returns a scalar."""


@dataclass(frozen=True)
class TimedPlan:
    """When one model's training starts and ends, in seconds of `time.monotonic`, and how fast it learns."""

    name: str
    start: float
    end: float
    recipe: PhaseRecipe
    log_every: int

    def rate(self, step: int, now: float) -> float:
        """Share of the peak learning rate: up over `warmup` steps, level, then to zero at `end`."""
        left = max(0.0, self.end - now) / max(1e-9, self.end - self.start)
        return min((step + 1) / self.recipe.warmup, 1.0, left / self.recipe.cooldown)


def fit_until(model: nn.Module, groups: list[dict[str, Any]], loss: TimedLoss, plan: TimedPlan) -> int:
    """Train `model` in place until `plan.end`, at least one step, and return the number of steps.

    `groups` are AdamW's parameter groups with `lr` as the peak learning rate of each. The model holds the moving
    average of its weights afterwards, in eval mode.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=device.type == "cuda")
    peaks = [group["lr"] for group in optimizer.param_groups]
    average, total = MovingAverage(model), torch.zeros((), device=device)
    step, logged, since = 0, 0, time.monotonic()
    model.train()
    while step == 0 or time.monotonic() < plan.end:
        rate = plan.rate(step, time.monotonic())
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(min(plan.recipe.ema, (step + 1) / (step + 10)))
        total += value.detach()
        step += 1
        if step == 1 or step % plan.log_every == 0:
            # Reading the loss waits for the device, so it is read only here.
            steps, seconds = step - logged, time.monotonic() - since
            speed = steps * plan.recipe.batch / seconds
            log.info("%s: step %d, loss %.4f, %.0f images/s", plan.name, step, float(total) / steps, speed)
            total.zero_()
            logged, since = step, time.monotonic()
    model.load_state_dict(average.weights)
    model.eval()
    log.info("%s: %d steps of %d", plan.name, step, plan.recipe.batch)
    return step

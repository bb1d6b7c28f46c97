"""One resumable training loop for all pocket models: what a step sees depends on the seed and the step only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from anime_lora.progress import Progress

Loss = Callable[[torch.Generator], Tensor]
"""Samples its batch from the generator and returns a scalar."""
Watch = Callable[[int], None]
"""Called now and then with the number of steps done, while the model holds its average."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast one model learns."""

    name: str
    steps: int
    learning_rate: float
    seed: int
    folder: Path
    warmup: int = 100
    cooldown: float = 0.25
    ema: float = 0.998
    save_every: int = 100
    watch_every: int = 500
    device: str = "cpu"

    def rate(self, step: int) -> float:
        """Learning rate of `step`: up over `warmup` steps, level, then to zero over the last `cooldown` share.

        While it is level a step does not depend on `steps`: a run can be made longer or shorter before it cools down.
        """
        left = (self.steps - step) / (self.cooldown * self.steps)
        return self.learning_rate * min((step + 1) / self.warmup, 1.0, left)


def fit(model: nn.Module, loss: Loss, plan: Plan, watch: Watch | None = None) -> nn.Module:
    """Train `model` in place and return it holding the moving average of its weights, in eval mode, on the CPU.

    The state is saved every `save_every` steps, written beside and renamed; the same call goes on from there.
    """
    model.to(plan.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, foreach=True
    )
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    path = plan.folder / f"{plan.name}.pt"
    start = _load(path, model, optimizer, average, plan.device)
    model.train()
    with Progress("pocket", plan.name, plan.steps, "step", done=start) as progress:
        for step in range(start, plan.steps):
            value = _step(model, optimizer, loss, plan, step)
            _average(average, model, min(plan.ema, (step + 1) / (step + 10)))
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                _save(path, model, optimizer, average, step + 1)
            if watch and (step + 1) % plan.watch_every == 0:
                with averaged(model, average):
                    watch(step + 1)
            progress.update(loss=round(value, 4))
    model.load_state_dict(average)
    return model.cpu().eval()


@contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor]) -> Iterator[None]:
    """Let `model` hold its average for a while."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    model.eval()
    yield
    model.load_state_dict(own)
    model.train()


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, plan: Plan, step: int) -> float:
    for group in optimizer.param_groups:
        group["lr"] = plan.rate(step)
    generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    optimizer.zero_grad(set_to_none=True)
    value = loss(generator)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(value.detach())


@torch.no_grad()
def _average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def _save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], step: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step}
    torch.save(state, beside)
    beside.replace(path)


def _load(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], device: str
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.update(state["average"])
    return int(state["step"])

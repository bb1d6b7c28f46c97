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
OnStep = Callable[[int], None]
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
    preview_every: int = 500
    device: str = "cpu"

    def rate(self, step: int) -> float:
        """Learning rate of `step`: up over `warmup` steps, level, then to zero over the last `cooldown` share.

        While it is level a step does not depend on `steps`: a run can be made longer or shorter before it cools down.
        """
        left = (self.steps - step) / (self.cooldown * self.steps)
        return self.learning_rate * min((step + 1) / self.warmup, 1.0, left)


class MovingAverage:
    """The moving average of a model's weights, which serves better than the last step's; buffers are copied."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        own = model.state_dict()
        self.weights = {name: value.detach().clone() for name, value in own.items()}
        floating = [name for name, value in own.items() if value.is_floating_point()]
        self._averages, self._current = [self.weights[name] for name in floating], [own[name] for name in floating]
        self._buffers = [(self.weights[name], own[name]) for name in own if name not in set(floating)]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Let `decay` of the average stand and take the rest from the model."""
        torch._foreach_lerp_(self._averages, self._current, 1 - decay)
        for copied, current in self._buffers:
            copied.copy_(current)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model hold the average for a while, in eval mode."""
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.weights)
        self.model.eval()
        yield
        self.model.load_state_dict(own)
        self.model.train()


def fit(model: nn.Module, loss: Loss, plan: Plan, preview: OnStep | None = None) -> nn.Module:
    """Train `model` in place and return it holding the moving average of its weights, in eval mode, on the CPU.

    The state is saved every `save_every` steps, written beside and renamed; the same call goes on from there.
    """
    model.to(plan.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, foreach=True
    )
    average = MovingAverage(model)
    path = plan.folder / f"{plan.name}.pt"
    start = _load(path, model, optimizer, average, plan.device)
    model.train()
    with Progress("pocket", plan.name, plan.steps, "step", done=start) as progress:
        for step in range(start, plan.steps):
            value = _step(model, optimizer, loss, plan, step)
            average.update(min(plan.ema, (step + 1) / (step + 10)))
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                _save(path, model, optimizer, average, step + 1)
            if preview and (step + 1) % plan.preview_every == 0:
                with average.in_place():
                    preview(step + 1)
            progress.update(loss=round(value, 4))
    model.load_state_dict(average.weights)
    return model.cpu().eval()


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


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage, step: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.weights, "step": step}
    torch.save(state, beside)
    beside.replace(path)


def _load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage, device: str) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.load(state["average"])
    return int(state["step"])

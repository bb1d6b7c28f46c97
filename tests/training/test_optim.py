"""Optimizers, their schedules and state, and the moving average."""

from collections.abc import Callable

import pytest
import torch

from anime_lora.errors import TrainingError
from anime_lora.training.optim import EMA, rate_factor
from anime_lora.training.trainer import Trainer


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 0.5, 0.25]), ("cosine", [0.5, 1, 0.5, 0.1464])],
)
def test_schedules(schedule: str, factors: list[float]) -> None:
    """Two warm-up steps, then the rate at the start, the middle and three quarters of the eight that follow."""
    assert [rate_factor(step, 10, schedule, 2) for step in (0, 2, 6, 8)] == pytest.approx(factors, abs=1e-4)


def test_average_follows_and_swaps_back() -> None:
    """The average starts with the weights, moves towards them, and swapping twice changes nothing."""
    weight = torch.nn.Parameter(torch.zeros(1))
    average = EMA([weight], 0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update()
    assert float(average.shadow[0]) == pytest.approx(1 - 2 / 11)
    average.swap()
    assert float(weight.detach()) == pytest.approx(1 - 2 / 11)
    average.swap()
    assert float(weight.detach()) == 1.0


def test_prodigy_with_an_adam_rate_is_refused(make: Callable) -> None:
    """A rate of 1e-4 under Prodigy would not train at all."""
    with pytest.raises(TrainingError, match=r"set train\.learning_rate to 1\.0"):
        make(optimizer="prodigy", learning_rate=1e-4)


def train_steps(trainer: Trainer, steps: int) -> float:
    """Mean |B| after `steps` steps."""
    trainer.train_mode()
    for epoch in range(steps):
        trainer.step(trainer.epoch_groups(epoch)[0])
    values = [value.flatten() for name, value in trainer.adapter().items() if "lora_B" in name]
    return float(torch.cat(values).abs().mean())


def test_adafactor_moves_as_far_as_adamw(make: Callable) -> None:
    """At the same rate B, which starts at zero, is of AdamW's size after 20 steps (within 10x)."""
    changes = {"learning_rate": 1e-3, "schedule": "constant", "epochs": 20, "heldout_images": 0}
    adamw, adafactor = (train_steps(make(optimizer=name, **changes), 20) for name in ("adamw", "adafactor"))
    assert adamw / 10 < adafactor < adamw * 10


@pytest.mark.parametrize("name", ["adafactor", "adamw8bit", "prodigy"])
def test_the_optimizers_state_survives_a_checkpoint(make: Callable, name: str) -> None:
    """Put back from a file, every optimizer takes the very step that it would have taken."""
    changes = {"optimizer": name, "rank": 8, "learning_rate": 1.0 if name == "prodigy" else 1e-3}
    first = make(**changes)
    train_steps(first, 2)
    first.save_checkpoint()
    second = make(**changes)
    second.resume()
    for trainer in (first, second):
        trainer.train_mode()
        trainer.step(trainer.epoch_groups(2)[0])
    assert all(torch.equal(value, second.adapter()[key]) for key, value in first.adapter().items())


def test_weight_decay_leaves_doras_lengths(make: Callable) -> None:
    """Pulled to zero they would erase the base's weights: with no gradient a step leaves them and shrinks A."""
    trainer = make(dora=True, weight_decay=0.9, learning_rate=1e-2, target="attn", text_encoder_learning_rate=1e-2)
    before = trainer.adapter()
    for parameter in trainer.parameters:
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    for name, value in trainer.adapter().items():
        assert torch.equal(value, before[name]) != ("lora_A" in name)


def test_eight_bit_state_is_eight_bit(make: Callable) -> None:
    """Large adapters keep their optimizer state in bytes."""
    trainer = make(optimizer="adamw8bit", rank=64, alpha=64.0, target="all-linear+conv")
    trainer.loss(trainer.batches.build(trainer.epoch_groups(0)[0][:1])).mean().backward()
    trainer.optimizer.step()
    kinds = {value.dtype for state in trainer.optimizer.state.values() for n, value in state.items() if n == "state1"}
    assert torch.uint8 in kinds

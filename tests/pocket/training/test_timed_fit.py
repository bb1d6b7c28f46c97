"""Training in minutes."""

import time

import pytest
import torch

from pocket.training.timed_fit import TimedPlan, fit_until
from tests.pocket.training.tiny import tiny_recipe


def test_a_timed_plan_ends_in_time() -> None:
    """The rate rises, stays, and is zero at the end; training stops there after at least one step."""
    recipe = tiny_recipe().controlnet.model_copy(update={"warmup": 4, "cooldown": 0.5})
    plan = TimedPlan("tiny", 10.0, 20.0, recipe, 100)
    rates = [
        plan.rate(step, now) for step, now in ((0, 10.0), (3, 11.0), (50, 15.0), (80, 17.5), (99, 20.0), (100, 21))
    ]
    assert rates == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.0, 0.0])
    net = torch.nn.Linear(1, 1)
    groups = [{"params": list(net.parameters()), "lr": 1e-2}]
    now = time.monotonic()
    steps = fit_until(net, groups, lambda: net(torch.ones(1)).square().sum(), TimedPlan("tiny", now, now, recipe, 100))
    assert steps == 1
    assert not net.training

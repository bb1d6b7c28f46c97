"""Training in steps resumes exactly."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pocket.training.fit import Plan, fit


def test_resumed_training_is_the_same(tmp_path: Path) -> None:
    """A run cut between two saves and taken up again ends on the very weights of one that was not."""

    def run(folder: Path, stop_after: int | None = None) -> Tensor:
        torch.manual_seed(1)
        net, calls = nn.Linear(4, 4), 0

        def loss(generator: torch.Generator) -> Tensor:
            nonlocal calls
            calls += 1
            if stop_after is not None and calls > stop_after:
                raise KeyboardInterrupt
            return net(torch.randn(3, 4, generator=generator)).square().mean()

        fit(net, loss, Plan("tiny", 8, 1e-2, 1, folder, warmup=2, save_every=2))
        return net.weight.detach().clone()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_after=5)
    assert torch.equal(run(tmp_path / "cut"), whole)

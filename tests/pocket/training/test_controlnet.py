"""The ControlNet before its first step."""

import numpy as np
import torch

from pocket.faces.character import sample_character
from pocket.faces.domains import render
from pocket.models import shapes
from pocket.training.controlnet import new_controlnet
from pocket.training.live_corpus import SIDE, edges
from tests.pocket.training.tiny import TINY


def test_an_untrained_controlnet_changes_nothing_but_sees_the_edges() -> None:
    """Its residuals are zero at first; its edge encoder tells two edge images apart from the start."""
    torch.manual_seed(0)
    maps = [edges(render(sample_character(seed), "flat", SIDE)) for seed in (1, 2)]
    condition = torch.from_numpy(np.stack(maps)).float()[:, None].expand(-1, 3, -1, -1)
    net = new_controlnet(shapes.unet(TINY), TINY, 0, condition)
    with torch.no_grad():
        down, middle = net(
            torch.randn(2, 4, 16, 16), 500, torch.randn(2, 77, 128), controlnet_cond=condition, return_dict=False
        )
        first, second = net.controlnet_cond_embedding(condition)
    assert not any(residual.any() for residual in (*down, middle))
    assert (first - second).std() > 0.5

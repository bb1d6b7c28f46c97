"""How far images are from the style, measured on their latents alone.

No second model takes part, so the epoch is not chosen by the encoder that measures it afterwards.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

STEPS = (1, 2, 4)
"""Cells between two places of a latent whose difference counts as contrast."""


def statistics(latent: Tensor) -> Tensor:
    """(8C,) per channel of a latent (C, h, w): mean, deviation, and mean contrast across and down at each of `STEPS`.

    Means and deviations of a convolution's channels carry style, not content (Huang & Belongie 2017).
    """
    z = latent.double()
    found = [z.mean((1, 2)), z.std((1, 2))]
    for step in STEPS:
        found += [(z[:, :, step:] - z[:, :, :-step]).abs().mean((1, 2))]
        found += [(z[:, step:] - z[:, :-step]).abs().mean((1, 2))]
    return torch.cat(found)


def distances(generated: Sequence[Tensor], style: Sequence[Tensor]) -> list[float]:
    """Each generated latent's root mean square deviation from the style's latents, in their own standard deviations.

    An image of the style has about 1. Two latents of the style or more are needed.
    """
    reference = torch.stack([statistics(latent) for latent in style])
    middle, spread = reference.mean(0), reference.std(0).clamp(min=1e-6)
    return [float(((statistics(latent) - middle) / spread).square().mean().sqrt()) for latent in generated]

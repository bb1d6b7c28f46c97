"""Random numbers as a pure function of a key such as (run seed, epoch, image): resuming needs only a step number.

No function here reads or moves the global generators, so validation, workers and process counts change none.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


def seed_from(*key: object) -> int:
    """A 63-bit seed that follows from `key` alone: the first bytes of its sha256."""
    # the separator keeps ("a", "bc") and ("ab", "c") apart
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*key: object) -> torch.Generator:
    """A CPU generator seeded by `key` alone."""
    return torch.Generator().manual_seed(seed_from(*key))


def shuffled(items: Sequence[T], *key: object) -> list[T]:
    """`items` in an order that follows from `key` alone."""
    return [items[i] for i in torch.randperm(len(items), generator=generator(*key)).tolist()]


def epoch_order(ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """The order in which an epoch shows the images: positions in `ids`, each once.

    An image's place among the others depends on its id, so adding one leaves the rest in their order.
    """
    return sorted(range(len(ids)), key=lambda i: seed_from("order", seed, epoch, ids[i]))


@dataclass(frozen=True)
class NoiseSample:
    """The random numbers with which one image is shown in one epoch; tensors in fp32 on the CPU."""

    posterior: torch.Tensor
    """Standard normal, (C, h, w): which sample of the VAE's posterior."""
    noise: torch.Tensor
    """Standard normal, (C, h, w): the noise to be predicted."""
    offset: torch.Tensor
    """Standard normal, (C, 1, 1): the shift of the noise's mean, before its strength."""
    timestep: int


def sample_noise(seed: int, epoch: int, image: str, shape: tuple[int, ...], timesteps: int) -> NoiseSample:
    """The random numbers of one image in one epoch.

    Args:
        seed: the run's.
        epoch: counted from 0.
        image: its id.
        shape: the latent's (C, h, w).
        timesteps: how many the noise schedule has; the sampled one is uniform in [0, `timesteps`).
    """
    rng = generator("visit", seed, epoch, image)
    timestep = int(torch.randint(timesteps, (), generator=rng))
    posterior = torch.randn(shape, generator=rng)
    noise = torch.randn(shape, generator=rng)
    offset = torch.randn((shape[0], 1, 1), generator=rng)
    return NoiseSample(posterior, noise, offset, timestep)


def sample_bool(probability: float, *key: object) -> bool:
    """True with `probability`, decided by `key` alone."""
    return seed_from(*key) < probability * 2**63

"""The randomness of training as a pure function of (run seed, epoch, image): resuming needs only a step number.

No function here reads or moves the global generators, so validation, workers and process counts change none.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


def number(*key: object) -> int:
    """A 63-bit number that follows from `key` alone."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*key: object) -> torch.Generator:
    """A CPU generator seeded by `key` alone."""
    return torch.Generator().manual_seed(number(*key))


def shuffled(items: Sequence[T], *key: object) -> list[T]:
    """`items` in an order that follows from `key` alone."""
    return [items[i] for i in torch.randperm(len(items), generator=generator(*key)).tolist()]


def order(ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """The order in which an epoch visits the images: positions in `ids`, each once.

    An image's place among the others depends on its id, so adding one leaves the rest in their order.
    """
    return sorted(range(len(ids)), key=lambda i: number("order", seed, epoch, ids[i]))


def groups(items: Sequence[T], size: int) -> list[list[T]]:
    """`items` cut into accumulation groups of `size`; the last one holds what is left."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


@dataclass(frozen=True)
class NoiseSample:
    """The random numbers of one visit of one image; tensors in fp32 on the CPU."""

    posterior: torch.Tensor
    """Standard normal, (C, h, w): which sample of the VAE's posterior."""
    noise: torch.Tensor
    """Standard normal, (C, h, w): the noise to be predicted."""
    offset: torch.Tensor
    """Standard normal, (C, 1, 1): the shift of the noise's mean, before its strength."""
    timestep: int


def sample_noise(seed: int, epoch: int, image: str, shape: tuple[int, ...], timesteps: int) -> NoiseSample:
    """The random numbers of one visit: `shape` is the latent's (C, h, w); timesteps are uniform in [0, `timesteps`)."""
    stream = generator("visit", seed, epoch, image)
    timestep = int(torch.randint(timesteps, (), generator=stream))
    posterior = torch.randn(shape, generator=stream)
    noise = torch.randn(shape, generator=stream)
    offset = torch.randn((shape[0], 1, 1), generator=stream)
    return NoiseSample(posterior, noise, offset, timestep)


def sample_bool(probability: float, *key: object) -> bool:
    """True with `probability`, decided by `key` alone."""
    return number(*key) < probability * 2**63

"""Sums of LoRAs, which are exact, and LoRAs of lower rank, whose error is measured; no base is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights

Modules = dict[str, ModuleWeights]


@dataclass(frozen=True)
class Approximation:
    """How much of a LoRA's change is left at a lower rank."""

    energy: float
    """Share of the sum of all squared singular values that is left, over all modules."""
    largest_error: float
    """Largest difference of an entry of ΔW."""
    lowest_rank: int
    highest_rank: int

    @property
    def relative_error(self) -> float:
        """|ΔW - approximation| / |ΔW|, Frobenius norms over all modules."""
        return float(max(0.0, 1.0 - self.energy) ** 0.5)

    def __str__(self) -> str:
        low, high = self.lowest_rank, self.highest_rank
        ranks = f"{low} to {high}" if low < high else high
        return (
            f"rank {ranks}: {self.energy:.4%} of the energy kept, relative error {self.relative_error:.3g}, "
            f"largest error of a weight {self.largest_error:.3g}"
        )


def merge(parts: Sequence[tuple[Mapping[str, ModuleWeights], float]]) -> Modules:
    """Σ weight · ΔW of every module, exactly: the factors stand beside each other and the ranks add up.

    Raises:
        AdapterError: DoRA, whose change is no sum of factors; or files of different bases.
    """
    if any(one.magnitude is not None for modules, _ in parts for one in modules.values()):
        raise AdapterError("a DoRA's change depends on the base's weights and cannot be added: use `fuse` instead")
    parts = [(modules, weight) for modules, weight in parts if weight]
    paths = sorted({path for modules, _ in parts for path in modules})
    if not paths:
        raise AdapterError("every weight is 0: nothing is left to merge")
    terms = {path: [(modules[path], weight) for modules, weight in parts if path in modules] for path in paths}
    return {path: _sum(terms[path], path) for path in paths}


def _sum(terms: Sequence[tuple[ModuleWeights, float]], path: str) -> ModuleWeights:
    """The terms' factors beside each other, with scale 1."""
    shape = max((weights.down.shape[1:] for weights, _ in terms), key=len)
    downs, ups = [], []
    for weights, weight in terms:
        if weights.up.shape[0] != terms[0][0].up.shape[0] or weights.down[0].numel() != shape.numel():
            raise AdapterError(f"the LoRAs were made for different bases: {path} has other shapes in one of them")
        factor = weights.scale * weight
        # half of it to each side, so that neither leaves fp16's range
        root = abs(factor) ** 0.5
        downs.append(weights.down.float().reshape(-1, *shape) * root)
        ups.append(weights.up.float().reshape(weights.up.shape[0], -1) * (root if factor >= 0 else -root))
    down, up = torch.cat(downs), torch.cat(ups, 1)
    return ModuleWeights(down, up.reshape(*up.shape, *[1] * (len(shape) - 1)), 1.0)


def resize(
    modules: Mapping[str, ModuleWeights], rank: int | None = None, energy: float | None = None
) -> tuple[Modules, Approximation]:
    """The nearest LoRA of lower rank, module by module (Eckart and Young 1936: singular values from the top).

    Args:
        modules: of the LoRA.
        rank: the highest rank; a module that has no more stays as it is.
        energy: the share of each module's energy to keep, with as low a rank as that allows.
    """
    retained, total, largest, resized = 0.0, 0.0, 0.0, {}
    for path, weights in modules.items():
        u, values, v = _singular_values(weights)
        squares = values.square()
        new_rank = _rank_for(squares, rank, energy)
        if new_rank >= weights.rank:
            resized[path] = weights
            retained, total = retained + float(squares.sum()), total + float(squares.sum())
            continue
        resized[path] = _from_singular_values(weights, u[:, :new_rank], values[:new_rank], v[:new_rank])
        rest = (u[:, new_rank:] * values[new_rank:]) @ v[new_rank:]
        largest = max(largest, float(rest.abs().max()) if rest.numel() else 0.0)
        retained, total = retained + float(squares[:new_rank].sum()), total + float(squares.sum())
    ranks = [weights.rank for weights in resized.values()]
    return resized, Approximation(retained / total if total else 1.0, largest, min(ranks), max(ranks))


def _rank_for(squares: Tensor, rank: int | None, energy: float | None) -> int:
    """The rank that `energy` needs, at most `rank`, at least 1."""
    needed = len(squares)
    if energy is not None and float(squares.sum()) > 0:
        shares = squares.cumsum(0) / squares.sum()
        needed = int((shares < energy - 1e-12).sum()) + 1
    elif energy is not None:
        needed = 1
    return max(1, min(needed, len(squares), rank if rank is not None else needed))


def _singular_values(weights: ModuleWeights) -> tuple[Tensor, Tensor, Tensor]:
    """U (out, k), S (k), Vᵀ (k, n) of ΔW in fp64; by the factors' QR, so that the cost is that of the rank."""
    up, down = weights.up.flatten(1).double(), weights.down.flatten(1).double()
    left, upper = torch.linalg.qr(up)
    right, lower = torch.linalg.qr(down.T)
    u, values, v = torch.linalg.svd(weights.scale * upper @ lower.T, full_matrices=False)
    return left @ u, values, v @ right.T


def _from_singular_values(like: ModuleWeights, u: Tensor, values: Tensor, v: Tensor) -> ModuleWeights:
    """Factors with the roots of the singular values on both sides, scale 1, in the dtype and shape of `like`'s."""
    root, dtype = values.sqrt(), like.down.dtype
    down = (root[:, None] * v).reshape(-1, *like.down.shape[1:]).to(dtype)
    up = (u * root).reshape(u.shape[0], -1, *[1] * (like.down.dim() - 2)).to(dtype)
    return replace(like, down=down.contiguous(), up=up.contiguous(), scale=1.0)

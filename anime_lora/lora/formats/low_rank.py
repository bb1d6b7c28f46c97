"""Every format's change of a weight as one pair of low-rank factors, by algebra alone: nothing is approximated.

With (out, in) for a linear layer and (out, in, k, k) for a convolution:
LoCon with a core: B·(core·A). LoHa: (A₁B₁)∘(A₂B₂) = (A₁ ⊙ A₂)(B₁ ⊙ B₂), products of all pairs of columns and rows.
LoKr: (A₁B₁)⊗(A₂B₂) = (A₁⊗A₂)(B₁⊗B₂). A full difference D: 1·D.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.formats.lycoris import AdaptedModule

Pair = tuple[Tensor, Tensor]
"""(out, rank) and (rank, n): their product is a matrix."""


def to_low_rank(module: AdaptedModule, tensors: Mapping[str, Tensor], alpha: float | None) -> ModuleWeights:
    """The change of one module of a file.

    Args:
        module: what the file holds of it.
        tensors: of the file, by full name.
        alpha: as the file states it; None: the rank, so that the scale is 1.

    Raises:
        AdapterError: its factors do not fit each other.
    """
    parts = {ending.removesuffix(".weight"): tensors[module.path + ending] for ending in module.endings}
    try:
        down, up, rank = _factors(parts)
        if up.shape[1] != down.shape[0] or 0 in {*up.shape, *down.shape}:
            raise IndexError
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        shapes = ", ".join(f"{ending.strip('._')} {tuple(value.shape)}" for ending, value in parts.items())
        raise AdapterError(f"the factors of {module.path} do not fit each other ({shapes})") from error
    scale = 1.0 if alpha is None or rank is None else alpha / rank
    magnitude = next((tensors[name] for name in _length_names(module.path) if name in tensors), None)
    if magnitude is not None and magnitude.numel() != up.shape[0]:
        raise AdapterError(
            f"{module.path} has DoRA lengths of its inputs ({tuple(magnitude.shape)}), which is not read here: only "
            "lengths of outputs are"
        )
    return ModuleWeights(down, up, scale, None if magnitude is None else magnitude.flatten())


def _length_names(path: str) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name in ("dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.weight"))


def _factors(parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, int | None]:
    """Down, up, and the rank that alpha is divided by; None where the scale is 1 whatever alpha says."""
    if ".diff" in parts:
        return (*_whole(parts[".diff"]), None)
    if ".hada_w1_a" in parts:
        return (*_loha(parts), parts[".hada_w1_b"].shape[0])
    if any(name.startswith(".lokr") for name in parts):
        return _lokr(parts)
    up = next(value for name, value in parts.items() if name.endswith((".lora_up", "lora_B", "lora_B.default", ".up")))
    down = next(
        value for name, value in parts.items() if name.endswith((".lora_down", "lora_A", "lora_A.default", ".down"))
    )
    rank = down.shape[0]
    if ".lora_mid" in parts:
        down = torch.einsum("ijkl,jr->irkl", parts[".lora_mid"].float(), down.flatten(1).float())
    return down, up, rank


def _up_shape(up: Tensor, down: Tensor) -> Tensor:
    """(out, rank) as the up factor of `down`: of a convolution (out, rank, 1, 1)."""
    return up.reshape(*up.shape[:2], *[1] * (down.dim() - 2))


def _whole(delta: Tensor) -> Pair:
    """(down, up) with the identity as one of them, so that the rank is the smaller side."""
    delta = delta.float()
    rows = delta.flatten(1)
    if rows.shape[0] <= rows.shape[1]:
        return delta, _up_shape(torch.eye(rows.shape[0]), delta)
    down = torch.eye(rows.shape[1]).reshape(rows.shape[1], *delta.shape[1:])
    return down, _up_shape(rows, down)


def _loha(parts: Mapping[str, Tensor]) -> Pair:
    (left, right), (other_left, other_right) = (_loha_pair(parts, number) for number in "12")
    kernel = parts[".hada_t1"].shape[2:] if ".hada_t1" in parts else ()
    out, n, rank = left.shape[0], right.shape[1], left.shape[1] * other_left.shape[1]
    if rank >= min(out, n):
        return _whole(((left @ right) * (other_left @ other_right)).reshape(out, -1, *kernel))
    down = (right[:, None] * other_right[None]).reshape(rank, -1, *kernel)
    return down, _up_shape((left[:, :, None] * other_left[:, None]).reshape(out, rank), down)


def _loha_pair(parts: Mapping[str, Tensor], number: str) -> Pair:
    left, right = parts[f".hada_w{number}_a"].float(), parts[f".hada_w{number}_b"].float()
    core = parts.get(f".hada_t{number}")
    if core is None:
        return left, right
    return left.T, torch.einsum("ijkl,jr->irkl", core.float(), right).flatten(1)


def _lokr(parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, int | None]:
    (left, right), kernel = _lokr_pair(parts, "1")
    (other_left, other_right), kernel = _lokr_pair(parts, "2")
    down = torch.kron(right.contiguous(), other_right.contiguous())
    down = down.reshape(down.shape[0], -1, *kernel)
    inner = parts.get(".lokr_w1_b", parts.get(".lokr_w2_b"))
    return (
        down,
        _up_shape(torch.kron(left.contiguous(), other_left.contiguous()), down),
        None if inner is None else inner.shape[0],
    )


def _lokr_pair(parts: Mapping[str, Tensor], number: str) -> tuple[Pair, tuple[int, ...]]:
    """One Kronecker factor as a pair, and its kernel's sides."""
    whole, core = parts.get(f".lokr_w{number}"), parts.get(f".lokr_t{number}")
    if whole is not None:
        down, up = _whole(whole)
        return (up.flatten(1), down.flatten(1)), tuple(whole.shape[2:])
    left, right = parts[f".lokr_w{number}_a"].float(), parts[f".lokr_w{number}_b"].float()
    if core is None:
        return (left, right.flatten(1)), tuple(right.shape[2:])
    return (left.T, torch.einsum("ijkl,jr->irkl", core.float(), right).flatten(1)), tuple(core.shape[2:])

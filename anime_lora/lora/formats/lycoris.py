"""The kinds of adapter that people share, told apart by the names of their tensors."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One kind: a module's tensors are its path and one of the factors' endings."""

    name: str
    needed: tuple[tuple[str, ...], ...]
    """One tuple per factor: the endings under which it may stand, whole or as its first low-rank part."""
    rank: tuple[str, ...]
    """Endings whose first dimension is the rank; none there: the change is stored whole."""
    optional: tuple[str, ...] = ()
    """Endings of further parts that multiply the others."""

    @property
    def endings(self) -> tuple[str, ...]:
        """Every ending that belongs to a module."""
        return tuple(ending for factor in self.needed for ending in factor) + self.optional


def _low_rank(name: str, down: str, up: str, *more: str) -> Family:
    return Family(name, ((down,), (up,)), (down,), more)


FAMILIES = (
    _low_rank("kohya (A1111, Forge, ComfyUI)", ".lora_down.weight", ".lora_up.weight", ".lora_mid.weight"),
    _low_rank("diffusers / PEFT", ".lora_A.weight", ".lora_B.weight"),
    _low_rank("diffusers, before PEFT", ".lora.down.weight", ".lora.up.weight"),
    Family(
        "LyCORIS LoHa",
        ((".hada_w1_a",), (".hada_w1_b",), (".hada_w2_a",), (".hada_w2_b",)),
        (".hada_w1_b",),
        (".hada_t1", ".hada_t2"),
    ),
    Family(
        "LyCORIS LoKr",
        ((".lokr_w1", ".lokr_w1_a"), (".lokr_w2", ".lokr_w2_a")),
        (".lokr_w2_b", ".lokr_w1_b"),
        (".lokr_w1_b", ".lokr_w2_b", ".lokr_t2"),
    ),
    Family("LyCORIS full difference", ((".diff",),), (), (".diff_b",)),
)
BESIDE = (".alpha", ".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight")
"""Endings of what stands beside the factors, in every kind."""


@dataclass(frozen=True)
class Module:
    """One adapted module of a file: its path, its kind and the endings of the factors that are there."""

    path: str
    family: Family
    endings: tuple[str, ...]

    def missing(self) -> str | None:
        """The ending of a factor that the module lacks."""
        lacking = (factor[0] for factor in self.family.needed if not set(factor) & set(self.endings))
        return next(lacking, None)

    def rank_name(self) -> str | None:
        """The tensor whose first dimension is the rank; None where the change is stored whole."""
        return next((self.path + ending for ending in self.family.rank if ending in self.endings), None)


def modules(names: Iterable[str]) -> tuple[list[Module], list[str]]:
    """The adapted modules among a file's tensors, sorted by path, and the names of tensors that belong to none."""
    found: dict[tuple[str, Family], list[str]] = {}
    others = []
    for name in names:
        match = _ending(name)
        if match is not None:
            family, ending = match
            found.setdefault((name.removesuffix(ending), family), []).append(ending)
        elif not name.endswith(BESIDE):
            others.append(name)
    made = [Module(path, family, tuple(sorted(endings))) for (path, family), endings in found.items()]
    return sorted(made, key=lambda module: module.path), sorted(others)


def _ending(name: str) -> tuple[Family, str] | None:
    return next(((family, end) for family in FAMILIES for end in family.endings if name.endswith(end)), None)

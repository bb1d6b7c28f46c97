"""The formats that people share adapters in, recognized by the names of their tensors: LoRA, LoHa, LoKr, full.

LoHa, LoKr and full differences are LyCORIS's (https://github.com/KohakuBlueleaf/LyCORIS); the low-rank families stand
here too, since a file's tensors have to be matched against all of them at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One format: a module's tensors are its path and one of the factors' endings."""

    name: str
    factors: tuple[tuple[str, ...], ...]
    """One tuple per factor that must be there: the endings under which it may stand, whole or as its first low-rank
    part."""
    rank: tuple[str, ...]
    """Endings whose first dimension is the rank; none there: the change is stored whole."""
    optional: tuple[str, ...] = ()
    """Endings of further parts that multiply the others."""

    @property
    def endings(self) -> tuple[str, ...]:
        """Every ending that belongs to a module."""
        return tuple(ending for factor in self.factors for ending in factor) + self.optional


def _low_rank(name: str, down: str, up: str, *optional: str) -> Family:
    return Family(name, ((down,), (up,)), (down,), optional)


FAMILIES = (
    _low_rank("kohya (A1111, Forge, ComfyUI)", ".lora_down.weight", ".lora_up.weight", ".lora_mid.weight"),
    _low_rank("diffusers / PEFT", ".lora_A.weight", ".lora_B.weight"),
    _low_rank("diffusers / PEFT, with the adapter's name", ".lora_A.default.weight", ".lora_B.default.weight"),
    _low_rank("diffusers, before PEFT", ".lora.down.weight", ".lora.up.weight"),
    _low_rank("diffusers, before PEFT", ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    _low_rank("diffusers, attention processors", "_lora.down.weight", "_lora.up.weight"),
    Family(
        "LyCORIS LoHa",
        ((".hada_w1_a",), (".hada_w1_b",), (".hada_w2_a",), (".hada_w2_b",)),
        (".hada_w1_b",),
        (".hada_t1", ".hada_t2"),
    ),
    Family(
        "LyCORIS LoKr",
        ((".lokr_w1", ".lokr_w1_a"), (".lokr_w2", ".lokr_w2_a")),
        # the second factor is the larger one and so is split first; the first stands whole in most files
        (".lokr_w2_b", ".lokr_w1_b"),
        (".lokr_w1_b", ".lokr_w2_b", ".lokr_t2"),
    ),
    Family("LyCORIS full difference", ((".diff",),), ()),
)
SCALARS_AND_LENGTHS = (".alpha", ".diff_b", ".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight")
"""Endings of tensors that stand beside the factors in every family."""


@dataclass(frozen=True)
class AdaptedModule:
    """One adapted module of a file: its path, its format and the endings of the factors that are there."""

    path: str
    family: Family
    endings: tuple[str, ...]

    def missing_ending(self) -> str | None:
        """The ending of a factor that the module lacks; None when it is complete."""
        missing = (factor[0] for factor in self.family.factors if not set(factor) & set(self.endings))
        return next(missing, None)

    def rank_tensor(self) -> str | None:
        """The tensor whose first dimension is the rank; None where the change is stored whole."""
        return next((self.path + ending for ending in self.family.rank if ending in self.endings), None)


def adapted_modules(names: Iterable[str]) -> tuple[list[AdaptedModule], list[str]]:
    """The adapted modules among a file's tensors, sorted by path, and the names of tensors that belong to none."""
    endings: dict[tuple[str, Family], list[str]] = {}
    others = []
    for name in names:
        match = _family_and_ending(name)
        if match is not None:
            family, ending = match
            endings.setdefault((name.removesuffix(ending), family), []).append(ending)
        elif not name.endswith(SCALARS_AND_LENGTHS):
            others.append(name)
    modules = [AdaptedModule(path, family, tuple(sorted(ends))) for (path, family), ends in endings.items()]
    return sorted(modules, key=lambda module: module.path), sorted(others)


def _family_and_ending(name: str) -> tuple[Family, str] | None:
    return next(((family, end) for family in FAMILIES for end in family.endings if name.endswith(end)), None)

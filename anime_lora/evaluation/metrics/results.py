"""What a measure hands on: numbers with intervals, curves, tables, and remarks."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anime_lora.evaluation.encoders import Skipped
from anime_lora.evaluation.statistics import Estimate, Floats


@dataclass
class Findings:
    """Numbers by dotted name; `curves` by name as rows; `units` are paired values that promotion compares."""

    numbers: dict[str, Estimate] = field(default_factory=dict)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    confusions: list[dict[str, Any]] = field(default_factory=list)
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take over what another measure found."""
        self.numbers |= other.numbers
        self.curves |= other.curves
        self.confusions += other.confusions
        self.units |= other.units
        self.skipped += other.skipped

    def get(self, name: str) -> Estimate | None:
        """The number, or None where it was not measured or has no value."""
        found = self.numbers.get(name)
        return found if found is not None and np.isfinite(found.value) else None


def unit_values(clusters: list[str], names: list[str], **values: Floats) -> dict[str, Any]:
    """One row per unit for `scores.json`: cluster, unit name and named values."""
    columns = {name: [float(one) for one in column] for name, column in values.items()}
    return {"clusters": clusters, "units": names, **columns}


def plain(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON values."""
    return asdict(estimate)


def columns(**estimates: Estimate) -> dict[str, float | None]:
    """Estimates as curve columns: name, name_low, name_high."""
    row: dict[str, float | None] = {}
    for name, found in estimates.items():
        row |= {name: _finite(found.value), f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

"""What changed between two versions of the dataset: images added, removed, captioned anew, and the drift of measures.

A version is validate's manifest; an image is known by the hash of its bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anime_lora.config import paths
from anime_lora.data.measures import psi
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl

Row = dict[str, Any]
MEASURES = ("contrast", "sharpness", "short_side")
NEEDED = ("id", "path", "caption", "width", "height", "contrast", "sharpness")
STABLE, MUCH = 0.1, 0.25
"""PSI below which a measure counts as stable, and above which as much shifted."""


@dataclass(frozen=True)
class Changes:
    """The difference of two versions; `kept` counts images that are in both with the same caption."""

    before: int
    now: int
    kept: int
    added: list[Row]
    removed: list[Row]
    recaptioned: list[Row]
    """With `caption` and, as it was, `caption_before`."""
    drift: dict[str, float]
    """PSI by measure; empty where a version has no image."""

    @property
    def nothing(self) -> bool:
        """The same images with the same captions."""
        return not (self.added or self.removed or self.recaptioned)

    def sentence(self) -> str:
        """Such as `3 added, 1 removed, 0 captioned anew, 211 kept`."""
        parts = {"added": self.added, "removed": self.removed, "captioned anew": self.recaptioned}
        return ", ".join([*(f"{len(rows)} {what}" for what, rows in parts.items()), f"{self.kept} kept"])

    def table(self) -> list[Row]:
        """One row per change, then one per measure: what, image, before, now."""
        rows = [_line("added", row, None, row["caption"]) for row in self.added]
        rows += [_line("removed", row, row["caption"], None) for row in self.removed]
        rows += [_line("captioned anew", row, row["caption_before"], row["caption"]) for row in self.recaptioned]
        drift = [
            {"change": f"drift of {name}", "picture": "", "before": "", "now": f"PSI {score:.3f}, {loud(score)}"}
            for name, score in self.drift.items()
        ]
        return rows + drift


def _line(change: str, row: Row, before: str | None, now: str | None) -> Row:
    return {"change": change, "picture": row["path"], "before": before or "", "now": now or ""}


def loud(score: float) -> str:
    """PSI in a word: stable, shifted, much shifted."""
    return "stable" if score < STABLE else "shifted" if score <= MUCH else "much shifted"


def read_version(path: Path) -> list[Row]:
    """Rows of a version: validate's manifest, or the folder it lies in.

    Raises:
        DatasetError: it is not there, or no manifest of validate.
    """
    file = path / paths.MANIFEST if path.is_dir() else path
    try:
        rows = read_jsonl(file)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file} cannot be read as a dataset version ({type(error).__name__}): name validate's manifest.jsonl, or "
            f"get an older one with `dvc get . {paths.VALIDATE / paths.MANIFEST} --rev REVISION -o old.jsonl`"
        ) from error
    lacking = sorted({name for row in rows for name in NEEDED if name not in row})
    if lacking:
        raise DatasetError(f"{file} is no manifest of validate: rows lack {', '.join(lacking)}")
    return rows


def compare(before: Sequence[Row], now: Sequence[Row]) -> Changes:
    """Images by the hash of their bytes; a file that was only moved or renamed is kept."""
    old, new = ({row["id"]: row for row in rows} for rows in (before, now))
    both = [row for row in now if row["id"] in old]
    recaptioned = [
        {**row, "caption_before": old[row["id"]]["caption"]}
        for row in both
        if row["caption"] != old[row["id"]]["caption"]
    ]
    return Changes(
        before=len(before),
        now=len(now),
        kept=len(both) - len(recaptioned),
        added=[row for row in now if row["id"] not in old],
        removed=[row for row in before if row["id"] not in new],
        recaptioned=recaptioned,
        drift=drift(measures(before), measures(now)),
    )


def measures(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The values whose distribution is watched, by name."""
    sides = [float(min(row["width"], row["height"])) for row in rows]
    found = {name: [float(row[name]) for row in rows] for name in MEASURES if name != "short_side"}
    return {**found, "short_side": sides}


def drift(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """PSI of each measure that has values in both versions."""
    return {
        name: psi(np.array(before[name], float), np.array(values, float))
        for name, values in now.items()
        if len(values) and len(before.get(name, ()))
    }

"""Curves as CSV for `dvc plots`."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from anime_lora.evaluation.metrics.results import Measurements
from anime_lora.evaluation.report.training import Epoch
from anime_lora.evaluation.statistics import Estimate
from anime_lora.files import write_text


def write_plots(folder: Path, measured: Measurements, epochs: Sequence[Epoch]) -> None:
    """One CSV in the new `folder` for each curve that has points."""
    folder.mkdir()
    curves: dict[str, Sequence[Any]] = {
        "strength": measured.strength.points,
        "structure": measured.structure,
        "guidance": measured.guidance.points,
        "scale": measured.scale.points,
        "styles": measured.style_words.points,
    }
    tables = {name: [point_row(point) for point in points] for name, points in curves.items()}
    tables["heldout"] = [{name: value for name, value in asdict(one).items() if value is not None} for one in epochs]
    for name, rows in tables.items():
        if rows:
            write_csv(folder / f"{name}.csv", rows)


def point_row(point: Any) -> dict[str, float | str | None]:
    """The fields of a curve's point as columns; an estimate gives three: name, name_low, name_high."""
    row: dict[str, float | str | None] = {}
    for field in fields(point):
        value = getattr(point, field.name)
        if value is None or isinstance(value, Estimate):
            mean, low, high = (value.value, value.low, value.high) if value else (None, None, None)
            row |= {field.name: mean, f"{field.name}_low": low, f"{field.name}_high": high}
        else:
            row[field.name] = value
    return row


def write_csv(path: Path, rows: Sequence[Mapping[str, float | str | None]]) -> None:
    """All rows with the union of their columns, in the order in which they first come; None is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        writer.writerow(rounded)
    write_text(path, stream.getvalue())

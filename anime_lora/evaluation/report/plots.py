"""Curves as CSV for `dvc plots` and as the report's series."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anime_lora.files import write_text

Rows = Sequence[Mapping[str, Any]]


def write_csv(path: Path, rows: Rows) -> None:
    """All rows with the union of their columns, in the order in which they first come; None is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _short(row.get(name)) for name in names} for row in rows)
    write_text(path, stream.getvalue())


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def series(rows: Rows, x: str, y: str, name: str, **only: str) -> dict[str, Any] | None:
    """One line of a curve as `content` describes it, of the rows that match `only`; None where there is none."""
    chosen = [row for row in rows if all(row.get(key) == value for key, value in only.items())]
    points = [
        {"x": row[x], "y": row[y], "low": row.get(f"{y}_low"), "high": row.get(f"{y}_high")}
        for row in chosen
        if row.get(y) is not None
    ]
    return {"name": name, "points": points} if points else None


def read_heldout(path: Path) -> list[dict[str, float]]:
    """Training's held-out losses by epoch; none where the file is not there."""
    if not path.is_file():
        return []
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]

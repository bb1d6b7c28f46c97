"""One self-contained page from the report's dict (`model.py`): images inlined, curves as SVG, no network."""

import base64
import mimetypes
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from anime_lora.evaluation.report import charts
from anime_lora.files import write_text

PAGE = "report.html"
MISSING = "not measured"


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write `report.html` into `folder`, whose images the dict names relative to it; returns the page's path.

    A part that the dict lacks, or an image that is not there, is named on the page instead.
    """
    environment = Environment(
        loader=PackageLoader("anime_lora.evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda image: inline(folder, image)
    environment.filters["curve"] = charts.curve
    environment.filters["bar"] = charts.interval_bar
    environment.filters["shade"] = shade
    page = environment.get_template("report.html").render(report=complete(report))
    path = folder / PAGE
    write_text(path, page)
    return path


def complete(report: dict[str, Any]) -> dict[str, Any]:
    """The dict with an empty value for every part it lacks."""
    lists = ("key_numbers", "claims", "galleries", "curves", "confusions", "tables", "skipped", "notes", "lineage")
    verdict = {"level": "mixed", "headline": MISSING.capitalize(), "sentences": []}
    start = {"title": "LoRA", "subtitle": "", "hero": None, "verdict": verdict, "dataset": None}
    return {**start, **{name: [] for name in lists}, **report}


def inline(folder: Path, image: dict[str, Any]) -> str | None:
    """The image (its preview where there is one) as a data URI; None when the file is not there."""
    for name in (image.get("preview"), image.get("file")):
        path = folder / name if name else None
        if path and path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "image/webp"
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return None


def shade(count: float, row: list[float]) -> int:
    """Percentage of its row that a cell of a confusion matrix holds, for its tint."""
    return round(100 * count / sum(row)) if sum(row) else 0

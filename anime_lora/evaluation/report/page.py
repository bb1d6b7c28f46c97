"""The report as one self-contained page: images inlined, curves as SVG, no network."""

import base64
import mimetypes
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from anime_lora.evaluation.report.charts import curve, interval_bar
from anime_lora.evaluation.report.model import PageImage, Report
from anime_lora.files import write_text


def write_page(file: Path, report: Report) -> None:
    """Write the page to `file`; an image that is not there is named on it instead."""
    environment = Environment(
        loader=PackageLoader("anime_lora.evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda image: inline(file.parent, image)
    environment.filters["curve"] = curve
    environment.filters["bar"] = interval_bar
    environment.filters["shade"] = shade
    write_text(file, environment.get_template("report.html").render(report=report))


def inline(folder: Path, image: PageImage) -> str | None:
    """The image (its preview where there is one) as a data URI; None when the file is not there."""
    for name in (image.preview, image.file):
        path = folder / name if name else None
        if path and path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "image/webp"
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return None


def shade(count: int, row: list[int]) -> int:
    """Percentage of its row that a cell of a confusion matrix holds, for its tint."""
    return round(100 * count / sum(row)) if sum(row) else 0

"""The report's images, curves and tables: which there are, and what is written beside them."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from anime_lora.evaluation.metrics.img2img import StrengthPoint
from anime_lora.evaluation.metrics.results import Measurements
from anime_lora.evaluation.metrics.sweeps import GuidancePoint
from anime_lora.evaluation.report.model import Chart, Gallery, Mark, Matrix, PageImage, Point, Series, Table
from anime_lora.evaluation.report.training import Epoch
from anime_lora.evaluation.report.wording import with_interval
from anime_lora.evaluation.statistics import Estimate
from anime_lora.images import read_size

GALLERIES = {
    "base-lora": ("Base beside LoRA", "Same prompts, same noise: the upper row without the LoRA, the lower with it."),
    "people": ("People", "A photo-like source, and what base and LoRA make of it with the same prompt and noise."),
    "features": ("Features", "What the prompt asks for, generated with the LoRA; one row per seed."),
    "trigger": ("Trigger 2×2", "LoRA off and on, trigger word left out and given, on the same noise."),
    "strength": ("Human to anime", "A photo-like source through img2img by strength with the LoRA, with the ControlNet "
                 "where one is set, the same character as it is in the style, and the base."),
    "scale": ("LoRA scale", "From the base (0) to the LoRA (1) and beyond, on the same noise."),
    "styles": ("Style words × guidance", "The LoRA with a style word in the prompt, by guidance."),
    "guidance": ("Guidance", "The same prompt and noise by classifier-free guidance."),
    "combining": ("Two LoRAs", "Base, this LoRA, a second one (validate_sample.second_adapter), and both; same noise."),
    "drift": ("Unrelated prompts", "Prompts without trigger and class: the closer the rows, the less was disturbed."),
    "nearest": ("Nearest training images", "The generated images most like a training image, that image, and the "
                "nearest held-out one; above, both cosines."),
    "epochs": ("Epoch by epoch", "The validation prompt on the same noise, from the base (epoch 0) on."),
}  # fmt: skip
"""Title and caption of each gallery, in the page's order."""
At = TypeVar("At")
"""A point of a curve."""


def galleries(samples: Path, own: Path, beside: Path) -> list[Gallery]:
    """Every gallery that has sheets.

    Args:
        samples: grids of validate-sample.
        own: grids of evaluate, as they lie now.
        beside: where the report will lie; paths are relative to it.
    """
    with_sheets = []
    for name, (title, caption) in GALLERIES.items():
        sheets = [(file, Path(os.path.relpath(file, beside)).as_posix()) for file in _sheets(samples, name)]
        sheets += [(file, f"grids/{file.name}") for file in _sheets(own, name)]
        if sheets:
            images = [_image(file, title, relative) for file, relative in sheets]
            with_sheets.append(Gallery(name, title, caption, images))
    return with_sheets


def _sheets(folder: Path, name: str) -> Iterator[Path]:
    """The sheets of a gallery: `name`.png, or several of them, numbered."""
    yield from sorted(
        file for file in folder.glob(f"{name}*.png") if file.stem == name or file.stem[len(name) + 1 :].isdigit()
    )


def _image(file: Path, title: str, relative: str) -> PageImage:
    width, height = read_size(file)
    preview = relative.removesuffix(".png") + ".webp" if file.with_suffix(".webp").is_file() else None
    page = f", page {file.stem.split('-')[-1]}" if file.stem[-1].isdigit() else ""
    return PageImage(relative, preview, title + page, f"Contact sheet: {title}{page}", width, height)


def charts(measured: Measurements, epochs: Sequence[Epoch], published: int | None) -> list[Chart]:
    """Every curve that has points; `published` is the epoch that was chosen."""
    chosen = [] if published is None else [Mark("x", published, "published")]
    listed = [
        _strength(measured),
        Chart("scale", "LoRA scale", "Style by the LoRA's scale: 0 is the base, 1 the LoRA as trained.",
              "scale", "style S",
              [_series("style S", measured.scale.points, lambda at: at.scale, lambda at: at.style)],
              [Mark("y", 0, "base"), Mark("y", 1, "the style's own")], "plots/scale.csv"),
        _guidance(measured),
        Chart("heldout", "Held-out loss", "Denoising loss after each epoch, on held-out and on as many trained images.",
              "epoch", "loss",
              [_plain("held out", epochs, lambda at: at.heldout), _plain("trained", epochs, lambda at: at.probe)],
              chosen, "plots/heldout.csv"),
        Chart("selection", "Choosing the epoch", "Score of each epoch: the share of the base's style distance that is "
              "gone, minus standard errors of the held-out loss above the lowest.", "epoch", "score",
              [_plain("selection score", epochs, lambda at: at.score)], chosen, "plots/heldout.csv"),
    ]  # fmt: skip
    return [chart for chart in map(_without_empty_series, listed) if chart.series]


def _strength(measured: Measurements) -> Chart:
    lora, base = (
        [point for point in measured.strength.points if point.arm == arm] for arm in ("lora", "base")
    )  # fmt: skip

    def line(name: str, points: Sequence[StrengthPoint], y: Callable[[StrengthPoint], Estimate | None]) -> Series:
        return _series(name, points, lambda at: at.strength, y)

    return Chart(
        "strength", "Strength: identity against style", "img2img of the source images, intervals over sources.",
        "strength", "score",
        [line("style S, LoRA", lora, lambda at: at.style), line("identity, LoRA", lora, lambda at: at.identity),
         line("attributes kept, LoRA", lora, lambda at: at.agreement),
         line("style S, base", base, lambda at: at.style), line("identity, base", base, lambda at: at.identity)],
        [Mark("x", 0.65, "0.65"), Mark("x", 0.8, "0.8")], "plots/strength.csv",
    )  # fmt: skip


def _guidance(measured: Measurements) -> Chart:
    def line(name: str, y: Callable[[GuidancePoint], Estimate | None]) -> Series:
        return _series(name, measured.guidance.points, lambda at: at.guidance, y)

    return Chart(
        "guidance", "Guidance", "Cosine of image and prompt, style, diversity, and the share of clipped pixels.",
        "guidance", "score",
        [line("prompt faithfulness", lambda at: at.faithfulness), line("style S", lambda at: at.style),
         line("diversity", lambda at: at.diversity), line("clipped pixels", lambda at: at.clipped)],
        [Mark("x", 7.5, "7.5")], "plots/guidance.csv",
    )  # fmt: skip


def _series(name: str, points: Sequence[At], x: Callable[[At], float], y: Callable[[At], Estimate | None]) -> Series:
    measured = [(x(point), y(point)) for point in points]
    return Series(name, [Point(at, one.value, one.low, one.high) for at, one in measured if one is not None])


def _plain(name: str, epochs: Sequence[Epoch], y: Callable[[Epoch], float | None]) -> Series:
    values = [(one.epoch, y(one)) for one in epochs]
    return Series(name, [Point(at, value) for at, value in values if value is not None])


def _without_empty_series(chart: Chart) -> Chart:
    return Chart(
        chart.id, chart.title, chart.caption, chart.x_label, chart.y_label,
        [series for series in chart.series if series.points], chart.marks, chart.csv,
    )  # fmt: skip


def matrices(measured: Measurements) -> list[Matrix]:
    """Asked against seen, for each attribute that the prompts ask for."""
    return [
        Matrix(
            name.replace(" ", "-"), name, one.confusion.rows, one.confusion.columns, one.confusion.counts,
            one.accuracy.value, one.accuracy.interval, one.ceiling.value if one.ceiling else None, one.confusion.chance,
        )
        for name, one in measured.features.attributes.items()
        if one.accuracy is not None
    ]  # fmt: skip


def tables(measured: Measurements) -> list[Table]:
    """Strength and guidance with intervals."""
    strength, guidance = measured.strength.points, measured.guidance.points
    return [
        *_table("strength", strength, lambda at: [f"{at.strength:g}", at.arm], ["strength", "arm"], {
            "style S": lambda at: at.style, "identity": lambda at: at.identity,
            "attributes kept": lambda at: at.agreement, "cosine to true counterpart": lambda at: at.truth,
            "nearer it than a random one": lambda at: at.nearer, "nearest of all": lambda at: at.retrieved,
        }),
        *_table("guidance", guidance, lambda at: [f"{at.guidance:g}"], ["guidance"], {
            "faithfulness": lambda at: at.faithfulness, "style S": lambda at: at.style,
            "diversity": lambda at: at.diversity, "clipped": lambda at: at.clipped,
        }),
    ]  # fmt: skip


def _table(
    name: str,
    points: Sequence[At],
    head: Callable[[At], list[str]],
    heads: list[str],
    columns: dict[str, Callable[[At], Estimate | None]],
) -> list[Table]:
    """One table, without columns that hold nothing; none without points."""
    if not points:
        return []
    filled = {title: read for title, read in columns.items() if any(read(point) for point in points)}
    rows = [[*head(point), *(with_interval(read(point)) for read in filled.values())] for point in points]
    n = next((one.n for point in points for read in filled.values() if (one := read(point))), 0)
    caption = f"Mean and 95 % interval, n = {n}."
    return [Table(name, name.capitalize(), caption, [*heads, *filled], rows)]

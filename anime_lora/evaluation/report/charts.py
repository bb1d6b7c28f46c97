"""Small SVG charts of numbers: a curve with its bands, an interval on a line."""

# Ours and not matplotlib's: its SVG has fixed colours, so a page that follows the reader's light or dark scheme would
# need every chart twice, its points say no value under the mouse, and three charts of a report took 47 KB against 10.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from anime_lora.evaluation.claims import Claim
from anime_lora.evaluation.report.model import Chart, Mark, Point

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 14, 44
TICKS = 5


def curve(chart: Chart) -> Markup:
    """An SVG of all series of a chart, with 95 % bands, marks, axes and a title for screen readers."""
    points = [point for series in chart.series for point in series.points]
    xs = _ticks([point.x for point in points] + [mark.at for mark in chart.marks if mark.axis == "x"])
    values = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    ys = _ticks(values + [mark.at for mark in chart.marks if mark.axis == "y"])
    axes = _Axes((xs[0], xs[-1]), (ys[0], ys[-1]))
    parts = [_grid(axes, xs, ys, chart), *(_mark(axes, mark) for mark in chart.marks)]
    parts += [_series(axes, series.points, index) for index, series in enumerate(chart.series)]
    label = escape(f"{chart.title}: {chart.y_label} against {chart.x_label}")
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>')


@dataclass(frozen=True)
class _Axes:
    """The values at the ends of both axes, to find where others lie in the image."""

    xs: tuple[float, float]
    ys: tuple[float, float]

    def x(self, value: float) -> float:
        return round(LEFT + (value - self.xs[0]) / (self.xs[1] - self.xs[0]) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.ys[0]) / (self.ys[1] - self.ys[0]) * (HEIGHT - TOP - BOTTOM), 1)


def _ticks(values: Sequence[float]) -> list[float]:
    """About five round numbers that cover `values`."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _grid(axes: _Axes, xs: list[float], ys: list[float], chart: Chart) -> str:
    bottom = HEIGHT - BOTTOM
    lines = [f'<path class="grid" d="M{LEFT} {axes.y(y)}H{WIDTH - RIGHT}"/>' for y in ys]
    labels = [f'<text x="{LEFT - 8}" y="{axes.y(y) + 4}" text-anchor="end">{y:g}</text>' for y in ys]
    labels += [f'<text x="{axes.x(x)}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>' for x in xs]
    middle = (LEFT + WIDTH - RIGHT) / 2
    labels.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(chart.x_label)}</text>')
    side = (TOP + bottom) / 2
    labels.append(
        f'<text transform="translate(13 {side}) rotate(-90)" text-anchor="middle">{escape(chart.y_label)}</text>'
    )
    return "".join([*lines, f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>', *labels])


def _mark(axes: _Axes, mark: Mark) -> str:
    if mark.axis == "x":
        at = axes.x(mark.at)
        beside = f'x="{at + 4}"' if at < WIDTH * 0.8 else f'x="{at - 4}" text-anchor="end"'
        text = f'<text {beside} y="{TOP + 10}">{escape(mark.label)}</text>'
        return f'<path class="mark" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>{text}'
    at = axes.y(mark.at)
    text = f'<text x="{WIDTH - RIGHT - 4}" y="{at - 5}" text-anchor="end">{escape(mark.label)}</text>'
    return f'<path class="mark" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>{text}'


def _series(axes: _Axes, points: list[Point], index: int) -> str:
    ordered = sorted(points, key=lambda point: point.x)
    band = [(axes.x(one.x), one.low, one.high) for one in ordered if one.low is not None and one.high is not None]
    upper = [f"{x} {axes.y(high)}" for x, _, high in band]
    lower = [f"{x} {axes.y(low)}" for x, low, _ in reversed(band)]
    area = f'<path class="band" d="M{"L".join(upper + lower)}Z"/>' if len(band) > 1 else ""
    spots = [(axes.x(point.x), axes.y(point.y)) for point in ordered]
    line = "".join(f"M{a[0]} {a[1]}L{b[0]} {b[1]}" for a, b in pairwise(spots))
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3.5"><title>{point.x:g}: {point.y:.3f}</title></circle>'
        for (x, y), point in zip(spots, ordered, strict=True)
    )
    return f'<g class="series s{index % 5}">{area}<path class="line" d="{line}"/>{dots}</g>'


def interval_bar(claim: Claim) -> Markup:
    """An interval with its value and the zero line, on a scale that holds all three; empty without an interval."""
    if claim.interval is None or claim.value is None:
        return Markup("")
    start, end = claim.interval
    low, high = min(start, claim.value, 0.0), max(end, claim.value, 0.0)
    span = (high - low) or 1.0

    def at(number: float) -> float:
        return round(6 + 108 * (number - low) / span, 1)

    return Markup(
        f'<svg class="bar" viewBox="0 0 120 16" aria-hidden="true"><path class="zero" d="M{at(0.0)} 1V15"/>'
        f'<path class="range" d="M{at(start)} 8H{at(end)}"/><circle cx="{at(claim.value)}" cy="8" r="4"/></svg>'
    )

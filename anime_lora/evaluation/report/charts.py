"""Small SVG charts of numbers: a curve with its bands, an interval on a line."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 14, 44
TICKS = 5


def curve(chart: dict[str, Any]) -> Markup:
    """An SVG of all series of a chart, with 95 % bands, marks, axes and a title for screen readers."""
    points = [point for series in chart["series"] for point in series["points"]]
    if not points:
        return Markup("<p class=quiet>not measured</p>")
    marks = chart.get("marks") or []
    xs = _ticks([point["x"] for point in points] + [mark["at"] for mark in marks if mark["axis"] == "x"])
    values = [
        value for point in points for value in (point["y"], point.get("low"), point.get("high")) if value is not None
    ]
    ys = _ticks(values + [mark["at"] for mark in marks if mark["axis"] == "y"])
    place = _Place((xs[0], xs[-1]), (ys[0], ys[-1]))
    parts = [_axes(place, xs, ys, chart), *(_mark(place, mark) for mark in marks)]
    parts += [_series(place, series["points"], index) for index, series in enumerate(chart["series"])]
    label = escape(f"{chart['title']}: {chart['y_label']} against {chart['x_label']}")
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>')


class _Place:
    """Data to image coordinates."""

    def __init__(self, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self.xs, self.ys = xs, ys

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


def _axes(place: _Place, xs: list[float], ys: list[float], chart: dict[str, Any]) -> str:
    bottom = HEIGHT - BOTTOM
    lines = [f'<path class="grid" d="M{LEFT} {place.y(y)}H{WIDTH - RIGHT}"/>' for y in ys]
    labels = [f'<text x="{LEFT - 8}" y="{place.y(y) + 4}" text-anchor="end">{y:g}</text>' for y in ys]
    labels += [f'<text x="{place.x(x)}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>' for x in xs]
    middle = (LEFT + WIDTH - RIGHT) / 2
    labels.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(chart["x_label"])}</text>')
    side = (TOP + bottom) / 2
    labels.append(
        f'<text transform="translate(13 {side}) rotate(-90)" text-anchor="middle">{escape(chart["y_label"])}</text>'
    )
    return "".join([*lines, f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>', *labels])


def _mark(place: _Place, mark: dict[str, Any]) -> str:
    if mark["axis"] == "x":
        at = place.x(mark["at"])
        text = f'<text x="{at + 4}" y="{TOP + 10}">{escape(mark["label"])}</text>'
        return f'<path class="mark" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>{text}'
    at = place.y(mark["at"])
    text = f'<text x="{WIDTH - RIGHT - 4}" y="{at - 5}" text-anchor="end">{escape(mark["label"])}</text>'
    return f'<path class="mark" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>{text}'


def _series(place: _Place, points: list[dict[str, Any]], index: int) -> str:
    ordered = sorted(points, key=lambda point: point["x"])
    band = [point for point in ordered if point.get("low") is not None and point.get("high") is not None]
    upper = [f"{place.x(point['x'])} {place.y(point['high'])}" for point in band]
    lower = [f"{place.x(point['x'])} {place.y(point['low'])}" for point in reversed(band)]
    area = f'<path class="band" d="M{"L".join(upper + lower)}Z"/>' if len(band) > 1 else ""
    spots = [(place.x(point["x"]), place.y(point["y"])) for point in ordered]
    line = "".join(f"M{a[0]} {a[1]}L{b[0]} {b[1]}" for a, b in pairwise(spots))
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3.5"><title>{point["x"]:g}: {point["y"]:.3f}</title></circle>'
        for (x, y), point in zip(spots, ordered, strict=True)
    )
    return f'<g class="series s{index % 5}">{area}<path class="line" d="{line}"/>{dots}</g>'


def interval_bar(claim: dict[str, Any]) -> Markup:
    """An interval with its value and the zero line, on a scale that holds all three; empty without an interval."""
    interval, value = claim.get("interval"), claim.get("value")
    if not interval or value is None:
        return Markup("")
    low, high = min(interval[0], value, 0.0), max(interval[1], value, 0.0)
    span = float(high - low) or 1.0

    def at(number: float) -> float:
        return float(round(6 + 108 * (number - low) / span, 1))

    return Markup(
        f'<svg class="bar" viewBox="0 0 120 16" aria-hidden="true"><path class="zero" d="M{at(0.0)} 1V15"/>'
        f'<path class="range" d="M{at(interval[0])} 8H{at(interval[1])}"/><circle cx="{at(value)}" cy="8" r="4"/></svg>'
    )

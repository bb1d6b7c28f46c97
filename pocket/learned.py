"""What the default run taught the pocket base: the rows of the table that `data/evaluate/metrics.json` holds."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line of the table: what, the figure, the bar, and whether it is reached."""

    what: str
    figure: str
    bar: str
    reached: bool


def learned(metrics: Path) -> list[Row]:
    """Rows of the default run, in the order of the bars; none where there was no run yet."""
    if not metrics.is_file():
        return []
    found: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))
    style, rise, fall, own = (
        found[name] for name in ("style", "strength.rho_style", "strength.rho_identity", "strength.at_0.65.nearer")
    )
    return [
        _at_least("after the default run: domain anime, with trigger", found["domain.lora"], 0.90),
        _at_least("after the default run: hair colour as asked", found["features.hair_colour"], 0.85),
        _interval("after the default run: style S", style, "≥ 0.6, lower-95 > 0", style["value"] >= 0.6),
        _interval("img2img: style rises with strength, ρ", rise, "lower-95 > 0", rise["low"] > 0),
        _interval("img2img: identity falls with strength, ρ", fall, "upper-95 < 0", fall["high"] < 0),
        _at_least("img2img at 0.65: nearer its own counterpart than a random one", own, 0.8),
    ]


def _at_least(what: str, number: dict[str, Any], bar: float) -> Row:
    return Row(what, f"{number['value']:.2f}", f"≥ {bar:.2f}", number["value"] >= bar)


def _interval(what: str, number: dict[str, Any], bar: str, reached: bool) -> Row:
    return Row(what, f"{number['value']:.2f} [{number['low']:.2f}, {number['high']:.2f}]", bar, bool(reached))

"""Numbers as short text."""

from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.statistics import Estimate

NONE = "–"


def number(value: float | None, digits: int = 2) -> str:
    """0.71; tiny values keep a significant digit: 3e-06."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is the only value unlike itself
        return NONE
    if value != 0 and abs(value) < 0.5 * 10**-digits:
        return f"{value:.0e}"
    return f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """0.94 -> 94 %."""
    return NONE if value is None or value != value else f"{100 * value:.0f} %"  # noqa: PLR0124


def with_interval(found: Estimate | None, digits: int = 2) -> str:
    """0.71 [0.60, 0.82]."""
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return number(found.value, digits)
    return f"{number(found.value, digits)} [{number(found.low, digits)}, {number(found.high, digits)}]"


def cell(row: dict[str, float | None], name: str, digits: int = 2) -> str:
    """A curve's column with its interval, as a table cell."""
    if row.get(name) is None:
        return NONE
    found = Estimate(float(row[name] or 0), row.get(f"{name}_low"), row.get(f"{name}_high"), 0, 0)
    return with_interval(found, digits)


def value(found: Findings, name: str) -> str:
    """A number by its name, with its interval."""
    return with_interval(found.get(name))


def arms(found: Findings, name: str) -> str:
    """A number of LoRA, base and held-out images."""
    lora, base, holdout = (value(found, f"{name}.{arm}") for arm in ("lora", "base", "holdout"))
    return f"LoRA {lora}, base {base}, held-out images {holdout}"

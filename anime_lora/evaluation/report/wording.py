"""Numbers as short text."""

from anime_lora.evaluation.statistics import Estimate

NONE = "–"


def number(value: float | None, digits: int = 2) -> str:
    """0.71; tiny values keep a significant digit: 3e-06."""
    if value is None:
        return NONE
    if value != 0 and abs(value) < 0.5 * 10**-digits:
        return f"{value:.0e}"
    return f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """0.94 -> 94 %."""
    return NONE if value is None else f"{100 * value:.0f} %"


def with_interval(estimate: Estimate | None, digits: int = 2) -> str:
    """0.71 [0.60, 0.82]; without the brackets where there is no interval."""
    if estimate is None:
        return NONE
    if estimate.interval is None:
        return number(estimate.value, digits)
    low, high = estimate.interval
    return f"{number(estimate.value, digits)} [{number(low, digits)}, {number(high, digits)}]"

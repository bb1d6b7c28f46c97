"""Values of the command line, from text: each mistake is one sentence that ends with what to write."""

import math
import re
from difflib import get_close_matches

from anime_lora.errors import SamplingError

SEEDS = 2**63
"""Seeds are below this: torch's generators take them, and webuis write smaller ones."""
MANY_SEEDS = 1000


def whole(option: str, text: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`.

    Raises:
        SamplingError: it is none.
    """
    if not re.fullmatch(r"[+-]?\d{1,20}", text.strip()) or not low <= int(text) <= high:
        raise SamplingError(
            f"{option} {text}: give a whole number from {low} to {high}, such as {option} {max(low, 1)}"
        )
    return int(text)


def number(option: str, text: str, low: float, high: float, example: str) -> float:
    """A number from `low` to `high`.

    Raises:
        SamplingError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SamplingError(f"{option} {text}: give a number from {low:g} to {high:g}, such as {option} {example}")
    return value


def strength(text: str) -> float:
    """How much of a source is generated anew, above 0 and at most 1.

    Raises:
        SamplingError: it is not.
    """
    value = number("--strength", text, 0, 1, "0.65")
    if value == 0:
        raise SamplingError(
            "--strength 0 would give the source back unchanged: use 0.3 to 0.9, such as --strength 0.65"
        )
    return value


def seeds(texts: list[str]) -> list[int]:
    """Seeds from texts such as `7`, `1,2,3` or `1-4`; the order stays, repeats go.

    Raises:
        SamplingError: one is no seed, or there are more than `MANY_SEEDS`.
    """
    values: list[int] = []
    for text in (part.strip() for whole_text in texts for part in whole_text.split(",")):
        span = re.fullmatch(r"(\d{1,19})-(\d{1,19})", text)
        if span and 0 <= int(span[2]) - int(span[1]) < MANY_SEEDS:
            values += range(int(span[1]), int(span[2]) + 1)
        elif re.fullmatch(r"\d{1,19}", text) and int(text) < SEEDS:
            values.append(int(text))
        else:
            raise SamplingError(
                f"--seed {text}: a seed is a whole number from 0 to {SEEDS - 1}; several are 1,2,3 or 1-4 "
                f"(at most {MANY_SEEDS})"
            )
    return list(dict.fromkeys(values))


def size(text: str, multiple: int) -> tuple[int, int]:
    """Width and height from `512` or `512x768`, both multiples of `multiple`.

    Raises:
        SamplingError: it is neither; names the nearest size that is one.
    """
    match = re.fullmatch(r"\s*(\d{1,5})\s*(?:[xX×*]\s*(\d{1,5}))?\s*", text)
    if not match:
        raise SamplingError(
            f"--size {text}: give pixels, such as --size {32 * multiple} or {32 * multiple}x{48 * multiple}"
        )
    width, height = int(match[1]), int(match[2] or match[1])
    low, high = 4 * multiple, 4096
    near = [min(max(round(side / multiple) * multiple, low), high) for side in (width, height)]
    if near != [width, height]:
        raise SamplingError(
            f"--size {text}: this base makes images from {low} to {high} pixels in steps of {multiple}, "
            f"such as --size {near[0]}x{near[1]}"
        )
    return width, height


def nearest(text: str, names: list[str], listed: list[str] | None = None) -> str:
    """`did you mean X?` where one of the names is like `text`, else the names, or those of them that are `listed`."""
    lower = {name.lower(): name for name in names}
    match = get_close_matches(text.lower(), list(lower), 1, 0.5)
    return f"did you mean '{lower[match[0]]}'?" if match else f"there are: {', '.join(listed or names)}"

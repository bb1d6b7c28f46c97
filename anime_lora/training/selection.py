"""Which epoch is published: held-out loss and the style of the epoch's samples, in one score, with the reason.

Rows are `State.epochs`: `heldout` is the mean of the held-out images' losses `each`, `style` the mean distance of the
validation images from the style; epoch 0 is the untrained base. What was not measured or not finite is None.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from anime_lora.errors import TrainingError

FLOOR = 1e-3
"""Smallest standard error that counts, relative to the loss: smaller differences are none."""


def scores(rows: Sequence[dict[str, Any]]) -> list[float | None]:
    """How good each epoch is: the share of the base's style distance that is gone, minus the standard errors by which
    the held-out loss lies above the lowest.

    So among epochs whose losses cannot be told apart the style decides, and an epoch that is surely worse on held-out
    images is out (the one-standard-error rule, Breiman et al. 1984). None without held-out images, and for an
    epoch that has diverged.
    """
    known = [row for row in rows if row["heldout"] is not None and not diverged(rows[0], row)]
    if not known:
        return [None] * len(rows)
    lowest = min(known, key=lambda row: row["heldout"])
    return [style_gain(rows[0], row) - excess(row, lowest) if row in known else None for row in rows]


def diverged(base: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether an epoch has no finite held-out loss or style distance where the base has one."""
    return any(row[name] is None and base[name] is not None for name in ("heldout", "style"))


def style_gain(base: dict[str, Any], row: dict[str, Any]) -> float:
    """The share of the base's style distance that is gone; 0 where it is not known."""
    return 1 - row["style"] / base["style"] if row["style"] is not None and base["style"] else 0.0


def excess(row: dict[str, Any], lowest: dict[str, Any]) -> float:
    """By how many standard errors of their difference, image by image, the loss of `row` lies above `lowest`'s."""
    differences = [a - b for a, b in zip(row["each"], lowest["each"], strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float((row["heldout"] - lowest["heldout"]) / max(error, FLOOR * lowest["heldout"]))


def choose(rows: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """The epoch to publish and the reason; the earlier one of equals.

    Raises:
        TrainingError: every epoch has diverged.
    """
    base, last = rows[0], rows[-1]["epoch"]
    if base["heldout"] is None:
        return last, "the last epoch: there are no held-out images to choose by"
    scored = [(score, row) for score, row in zip(scores(rows), rows, strict=True) if row["epoch"] and score is not None]
    if not scored:
        raise TrainingError(
            f"training has diverged: none of {last} epochs has a finite held-out loss and finite samples, so there is "
            "nothing to publish; lower train.learning_rate"
        )
    best = max(scored, key=lambda pair: pair[0])[1]
    lowest = min((row for _, row in scored), key=lambda row: row["heldout"])
    reason = f"best selection score of {last} epochs"
    if len(scored) < last:
        reason += f", {last - len(scored)} of which have diverged"
    if best["heldout"] == lowest["heldout"]:
        reason += f": the lowest held-out loss, {best['heldout']:.5f} (the base alone {base['heldout']:.5f})"
    else:
        reason += (
            f": held-out loss {best['heldout']:.5f} is {excess(best, lowest):.1f} standard errors above epoch "
            f"{lowest['epoch']}'s {lowest['heldout']:.5f} (the base alone {base['heldout']:.5f})"
        )
    if best["style"] is not None and base["style"] is not None:
        nearer = "nearer to the style than" if best["style"] < base["style"] else "no nearer to the style than"
        reason += f"; its samples are {nearer} the base's: distance {best['style']:.2f}, the base {base['style']:.2f}"
    if best["heldout"] >= base["heldout"]:
        reason += "; no epoch was better than the base: a lower train.learning_rate or fewer steps may be"
    return best["epoch"], reason


def out_of_patience(rows: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the selection score, the base's included, has not improved for `patience` epochs."""
    if patience is None or rows[0]["heldout"] is None:
        return False
    found = [-math.inf if score is None else score for score in scores(rows)]
    return len(found) - 1 - found.index(max(found)) >= patience

"""Which epoch is published: held-out loss and the style of the epoch's samples, in one score, with the reason.

Rows are `State.epochs`: `heldout` is the mean of the held-out pictures' losses `each`, `style` the mean distance of the
validation pictures from the style; epoch 0 is the untrained base.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

FLOOR = 1e-3
"""Smallest standard error that counts, relative to the loss: smaller differences are none."""


def scores(rows: Sequence[dict[str, Any]]) -> list[float | None]:
    """How good each epoch is: the share of the base's style distance that is gone, minus the standard errors by which
    the held-out loss lies above the lowest.

    So among epochs whose losses cannot be told apart the style decides, and an epoch that is surely worse on held-out
    pictures is out (the one-standard-error rule, Breiman et al. 1984). None without held-out pictures.
    """
    if not rows or any(row["heldout"] is None for row in rows):
        return [None] * len(rows)
    lowest = min(rows, key=lambda row: row["heldout"])
    return [style_gain(rows[0], row) - excess(row, lowest) for row in rows]


def style_gain(base: dict[str, Any], row: dict[str, Any]) -> float:
    """The share of the base's style distance that is gone; 0 where it was not measured."""
    return 1 - row["style"] / base["style"] if row["style"] is not None and base["style"] else 0.0


def excess(row: dict[str, Any], lowest: dict[str, Any]) -> float:
    """By how many standard errors of their difference, picture by picture, the loss of `row` lies above `lowest`'s."""
    differences = [a - b for a, b in zip(row["each"], lowest["each"], strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float((row["heldout"] - lowest["heldout"]) / max(error, FLOOR * lowest["heldout"]))


def choose(rows: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """The epoch to publish and the reason; the earlier one of equals."""
    found, trained = scores(rows), [row for row in rows if row["epoch"] > 0]
    if found[-1] is None:
        return trained[-1]["epoch"], "the last epoch: there are no held-out pictures to choose by"
    _, best = max(zip(found[len(rows) - len(trained) :], trained, strict=True), key=lambda pair: pair[0] or 0.0)
    base, lowest = rows[0], min(trained, key=lambda row: row["heldout"])
    reason = f"best selection score of {len(trained)} epochs"
    if best["heldout"] == lowest["heldout"]:
        reason += f": the lowest held-out loss, {best['heldout']:.5f} (the base alone {base['heldout']:.5f})"
    else:
        reason += (
            f": held-out loss {best['heldout']:.5f} is {excess(best, lowest):.1f} standard errors above epoch "
            f"{lowest['epoch']}'s {lowest['heldout']:.5f} (the base alone {base['heldout']:.5f})"
        )
    if best["style"] is not None:
        nearer = "nearer to the style than" if best["style"] < base["style"] else "no nearer to the style than"
        reason += f"; its samples are {nearer} the base's: distance {best['style']:.2f}, the base {base['style']:.2f}"
    if best["heldout"] >= base["heldout"]:
        reason += "; no epoch was better than the base: a lower train.learning_rate or fewer steps may be"
    return best["epoch"], reason


def out_of_patience(rows: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the selection score, the base's included, has not improved for `patience` epochs."""
    found = [score for score in scores(rows) if score is not None]
    if patience is None or not found:
        return False
    return len(found) - 1 - found.index(max(found)) >= patience

"""Which epoch is published: held-out loss and the style of the epoch's samples, in one score, with the reason.

Epoch 0 is the untrained base. What was not measured or not finite is None.
"""

import math
import statistics
from collections.abc import Sequence

from anime_lora.errors import TrainingError
from anime_lora.training.validation import EpochResult

FLOOR = 1e-3
"""Smallest standard error that counts, relative to the loss: smaller differences are none."""


def scores(epochs: Sequence[EpochResult]) -> list[float | None]:
    """How good each epoch is: the share of the base's style distance that is gone, minus the standard errors by which
    the held-out loss lies above the lowest.

    So among epochs whose losses cannot be told apart the style decides, and an epoch that is surely worse on held-out
    images is out (the one-standard-error rule, Breiman et al. 1984). None without held-out images, and for an
    epoch that has diverged.
    """
    comparable = [epoch for epoch in epochs if epoch.heldout is not None and not diverged(epochs[0], epoch)]
    if not comparable:
        return [None] * len(epochs)
    lowest = min(comparable, key=_loss)
    return [style_gain(epochs[0], epoch) - excess(epoch, lowest) if epoch in comparable else None for epoch in epochs]


def _loss(epoch: EpochResult) -> float:
    """The held-out loss of an epoch that has one."""
    if epoch.heldout is None:
        raise ValueError(f"epoch {epoch.epoch} has no held-out loss")
    return epoch.heldout


def diverged(base: EpochResult, epoch: EpochResult) -> bool:
    """Whether an epoch has no finite held-out loss or style distance where the base has one."""
    return (epoch.heldout is None and base.heldout is not None) or (epoch.style is None and base.style is not None)


def style_gain(base: EpochResult, epoch: EpochResult) -> float:
    """The share of the base's style distance that is gone; 0 where it is not known."""
    return 1 - epoch.style / base.style if epoch.style is not None and base.style else 0.0


def excess(epoch: EpochResult, lowest: EpochResult) -> float:
    """By how many standard errors of their difference, image by image, the loss of `epoch` lies above `lowest`'s."""
    pairs = zip(epoch.each, lowest.each, strict=True)
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return (_loss(epoch) - _loss(lowest)) / max(error, FLOOR * _loss(lowest))


def choose(epochs: Sequence[EpochResult]) -> tuple[int, str]:
    """The epoch to publish and the reason; the earlier one of equals.

    Raises:
        TrainingError: every epoch has diverged.
    """
    base, last = epochs[0], epochs[-1].epoch
    if base.heldout is None:
        return last, "the last epoch: there are no held-out images to choose by"
    scored = [
        (score, epoch) for score, epoch in zip(scores(epochs), epochs, strict=True) if epoch.epoch and score is not None
    ]
    if not scored:
        raise TrainingError(
            f"training has diverged: none of {last} epochs has a finite held-out loss and finite samples, so there is "
            "nothing to publish; lower train.learning_rate"
        )
    best = max(scored, key=lambda pair: pair[0])[1]
    lowest = min((epoch for _, epoch in scored), key=_loss)
    reason = f"best selection score of {last} epochs"
    if len(scored) < last:
        reason += f", {last - len(scored)} of which have diverged"
    return best.epoch, reason + _comparison(best, lowest, base)


def _comparison(best: EpochResult, lowest: EpochResult, base: EpochResult) -> str:
    """The best epoch beside the one of the lowest held-out loss and the untrained base, in words."""
    if _loss(best) == _loss(lowest):
        words = f": the lowest held-out loss, {_loss(best):.5f} (the base alone {_loss(base):.5f})"
    else:
        words = (
            f": held-out loss {_loss(best):.5f} is {excess(best, lowest):.1f} standard errors above epoch "
            f"{lowest.epoch}'s {_loss(lowest):.5f} (the base alone {_loss(base):.5f})"
        )
    if best.style is not None and base.style is not None:
        nearer = "nearer to the style than" if best.style < base.style else "no nearer to the style than"
        words += f"; its samples are {nearer} the base's: distance {best.style:.2f}, the base {base.style:.2f}"
    if _loss(best) >= _loss(base):
        words += "; no epoch was better than the base: a lower train.learning_rate or fewer steps may be"
    return words


def out_of_patience(epochs: Sequence[EpochResult], patience: int | None) -> bool:
    """Whether the selection score, the base's included, has not improved for `patience` epochs."""
    if patience is None or epochs[0].heldout is None:
        return False
    ranked = [-math.inf if score is None else score for score in scores(epochs)]
    return len(ranked) - 1 - ranked.index(max(ranked)) >= patience

"""The published epoch: held-out loss in standard errors, and how near the samples are to the style."""

from dataclasses import replace

import pytest

from anime_lora.errors import TrainingError
from anime_lora.training.selection import choose, excess, out_of_patience, scores, style_gain
from anime_lora.training.validation import EpochResult


def row(epoch: int, each: list[float], style: float | None) -> EpochResult:
    """A validated epoch; `heldout` is the mean of `each`."""
    heldout = sum(each) / len(each) if each else None
    return EpochResult(epoch, epoch, heldout, heldout, 0.0 if each else None, each, style)


BASE = row(0, [1.0, 2.0, 3.0], 4.0)


def test_losses_are_compared_in_standard_errors() -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1/√3, so 3.46 of them."""
    assert excess(row(1, [1.1, 2.2, 3.3], 1.0), BASE) == pytest.approx(0.2 / (0.1 / 3**0.5))
    assert excess(BASE, BASE) == 0


def test_equal_differences_and_one_image_count_in_thousandths() -> None:
    """Where there is no spread to tell an error from, a thousandth of the loss is one."""
    assert excess(row(1, [1.2, 2.2, 3.2], 1.0), BASE) == pytest.approx(100)
    assert excess(row(1, [1.01], 1.0), row(0, [1.0], 1.0)) == pytest.approx(10)


def test_style_gain_is_a_share_of_the_bases_distance() -> None:
    """From 4 to 1 three quarters are gone; unmeasured is no gain."""
    assert style_gain(BASE, row(1, [1.0], 1.0)) == 0.75
    assert style_gain(BASE, row(1, [1.0], None)) == 0


def test_style_decides_between_losses_that_cannot_be_told_apart() -> None:
    """Epoch 2 has the lowest loss by half a standard error, epoch 1 the better samples: epoch 1, and it says why."""
    rows = [BASE, row(1, [0.50, 1.53, 2.50], 1.0), row(2, [0.51, 1.50, 2.51], 3.5)]
    assert excess(rows[1], rows[2]) < 0.6
    epoch, reason = choose(rows)
    assert epoch == 1
    assert "standard errors above epoch 2's" in reason
    assert "distance 1.00, the base 4.00" in reason


def test_a_surely_worse_loss_is_not_outweighed_by_style() -> None:
    """An epoch that has learned its images by heart generates the style well and is not published."""
    rows = [BASE, row(1, [0.5, 1.5, 2.5], 2.0), row(2, [0.6, 1.61, 2.62], 0.9)]
    epoch, reason = choose(rows)
    assert epoch == 1
    assert "the lowest held-out loss, 1.50000" in reason


def test_without_held_out_images_the_last_epoch_is_published() -> None:
    rows = [row(0, [], None), row(1, [], None), row(2, [], None)]
    assert scores(rows) == [None, None, None]
    assert choose(rows)[0] == 2
    assert not out_of_patience(rows, 1)


def test_a_run_that_only_gets_worse_says_so() -> None:
    rows = [BASE, row(1, [1.1, 2.2, 3.2], 5.0), row(2, [1.2, 2.4, 3.3], 6.0)]
    epoch, reason = choose(rows)
    assert epoch == 1
    assert "no epoch was better than the base" in reason
    assert "no nearer to the style" in reason


def test_patience_counts_epochs_since_the_best_score() -> None:
    """The best score is epoch 1's: patience 2 is over after epoch 3, and None never is."""
    better, worse = row(1, [0.5, 1.5, 2.4], 2.0), [row(n, [0.8, 1.8, 2.8], 2.0) for n in (2, 3)]
    assert not out_of_patience([BASE, better, worse[0]], 2)
    assert out_of_patience([BASE, better, *worse], 2)
    assert not out_of_patience([BASE, better, *worse], None)


def test_an_epoch_that_is_not_finite_is_never_published() -> None:
    """No finite loss or no finite samples: out, whatever the order, and the others are compared without it."""
    lost, unseen = replace(row(1, [], 1.0), each=[None, 1.0, 2.0]), row(2, [0.1, 1.1, 2.1], None)
    rows = [BASE, lost, unseen, row(3, [0.5, 1.5, 2.5], 2.0), row(4, [0.6, 1.61, 2.62], 2.0)]
    assert [score is None for score in scores(rows)] == [False, True, True, False, False]
    epoch, reason = choose(rows)
    assert epoch == 3
    assert "best selection score of 4 epochs, 2 of which have diverged: the lowest held-out loss, 1.50000" in reason


def test_when_every_epoch_has_diverged_nothing_is_published() -> None:
    lost = [replace(row(n, [], None), each=[None] * 3) for n in (1, 2)]
    assert not out_of_patience([BASE, lost[0]], 2)
    assert out_of_patience([BASE, *lost], 2)
    assert not out_of_patience([BASE, *lost], None)
    with pytest.raises(TrainingError, match=r"none of 2 epochs has a finite held-out loss.*train\.learning_rate"):
        choose([BASE, *lost])


def test_samples_of_the_base_that_are_not_finite_leave_the_loss_to_choose_by() -> None:
    rows = [row(0, [1.0, 2.0, 3.0], None), row(1, [0.5, 1.5, 2.5], 9.0), row(2, [0.6, 1.61, 2.62], 1.0)]
    epoch, reason = choose(rows)
    assert epoch == 1
    assert "style" not in reason

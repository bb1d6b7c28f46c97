"""A training that cannot succeed is refused from settings and captions alone; what is unlikely is warned of."""

from pathlib import Path

import pytest

from anime_lora.errors import TrainingError
from anime_lora.training.batch import TrainingImage
from anime_lora.training.sanity_checks import check_training, effective_rates, total_steps, training_warnings
from tests.support.tiny import CONCEPT, train_settings

IMAGES = [TrainingImage(str(i), Path("x.png"), f"t c, colour {i}", "train", str(i), f"{i}.png") for i in range(30)]


def test_the_effective_rate_is_comparable_across_ranks() -> None:
    """Rate times alpha / rank, by rsLoRA times alpha / √rank."""
    settings = {"learning_rate": 1e-4, "rank": 16, "alpha": 32.0}
    assert effective_rates(train_settings(**settings)) == {"train.learning_rate": pytest.approx(2e-4)}
    assert effective_rates(train_settings(**settings, rslora=True)) == {"train.learning_rate": pytest.approx(8e-4)}


def test_the_short_last_group_of_an_epoch_is_a_step() -> None:
    """Thirty images in groups of eight: four steps in each of two epochs."""
    settings = train_settings(epochs=2, batch_size=4, gradient_accumulation_steps=2)
    assert total_steps(settings, IMAGES) == 8


def test_usual_settings_pass_without_a_warning() -> None:
    settings = train_settings(validation_prompt="t c", learning_rate=1e-4, patience=None)
    check_training(settings, CONCEPT, IMAGES)
    assert training_warnings(settings, CONCEPT, IMAGES) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.9}, r"train\.learning_rate x alpha / rank = 1\.8 is above 0\.05"),
        ({"warmup_steps": 30}, r"train\.warmup_steps = 30, but the run has 30 steps"),
        ({"caption_dropout": 1.0}, r"train\.caption_dropout = 1\.0 empties every caption"),
    ],
    ids=str,
)
def test_what_cannot_succeed_is_refused_with_its_limit(changes: dict, message: str) -> None:
    with pytest.raises(TrainingError, match=rf"(?s)for 1 reason\n.*{message}"):
        check_training(train_settings(**changes), CONCEPT, IMAGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1}, "15 optimizer steps hardly move an adapter"),
        ({"batch_size": 31}, "the effective batch of 31 exceeds the 30 training images"),
        ({"patience": 1}, "train.patience has no effect without held-out images"),
        ({"validation_prompt": "c"}, "train.validation_prompt lacks the trigger t"),
        ({"shuffle_tags": True, "keep_tags": 0}, "keep_tags 1 keeps it in front"),
        ({"prior_images": 1, "prior_prompt": "t c"}, "train.prior_prompt holds the trigger t"),
    ],
    ids=str,
)
def test_what_is_unlikely_to_be_meant_is_warned_of(changes: dict, message: str) -> None:
    warnings = training_warnings(train_settings(**{"validation_prompt": "t c", **changes}), CONCEPT, IMAGES)
    assert sum(message in warning for warning in warnings) == 1

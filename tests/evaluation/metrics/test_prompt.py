import numpy as np
import pytest

from anime_lora.evaluation.metrics.prompt import Classes, asked, chance, classify, confusion
from tests.support.world import COLOURS, Eye, face

ATTRIBUTES = {"gender": {"girl": "a girl", "boy": "a boy"}, "hair": {name: name for name in COLOURS}}


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("myStyle face girl, blue hair", {"gender": "girl", "hair": "blue hair"}),
        ("Girl,  RED   hair, smiling", {"gender": "girl", "hair": "red hair"}),
        ("girlish, blue hair band", {}),
        ("", {}),
    ],
)
def test_a_prompt_asks_for_the_values_that_its_parts_end_with(prompt: str, labels: dict[str, str]) -> None:
    assert asked(prompt, ATTRIBUTES) == labels


def test_the_longer_of_two_values_that_fit_is_asked_for() -> None:
    assert asked("girl, dark blue hair", {"hair": {"blue hair": "", "dark blue hair": ""}}) == {
        "hair": "dark blue hair"
    }


def test_an_image_is_of_the_class_whose_text_is_nearest() -> None:
    vectors = Eye().images([face(colour, np.zeros(8), 0) for colour in COLOURS.values()])
    assert classify(vectors, Eye(), {"hair": ATTRIBUTES["hair"]}).values == {"hair": list(COLOURS)}


def test_accuracy_counts_only_what_is_asked_for() -> None:
    classes = Classes({"gender": ["girl", "boy", "girl"], "hair": ["red hair", "red hair", "blue hair"]})
    shares = classes.correct([{"gender": "girl", "hair": "blue hair"}, {"gender": "boy"}, {}])
    assert shares[:2].tolist() == [0.5, 1.0]
    assert np.isnan(shares[2])


def test_guessing_is_right_once_in_as_many_values_as_there_are() -> None:
    assert chance([{"gender": "girl"}, {"gender": "boy", "hair": "red hair"}, {}], ATTRIBUTES) == (0.5 + 0.375) / 2


def test_a_confusion_has_a_row_for_each_value_asked_for() -> None:
    classes = Classes({"gender": ["girl", "boy", "girl", "boy"]})
    table = confusion(classes, [{"gender": "boy"}, {"gender": "boy"}, {}, {"gender": "boy"}], "gender", ATTRIBUTES)
    assert (table.rows, table.columns, table.counts, table.chance) == (["boy"], ["girl", "boy"], [[1, 2]], 0.5)

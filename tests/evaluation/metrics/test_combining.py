import numpy as np
import pytest

from anime_lora.evaluation.metrics.combining import StyleArms, along

ONCE = np.ones((1, 2))


def arms(base: float, own: float, other: float, both: float) -> StyleArms:
    return StyleArms(*(np.full(2, value) for value in (base, own, other, both)))


def test_a_style_gains_over_the_better_of_base_and_other_lora() -> None:
    assert arms(0.1, 0.5, 0.0, 0.4).gain(ONCE) == pytest.approx([0.3])
    assert arms(0.1, 0.5, 0.3, 0.4).gain(ONCE) == pytest.approx([0.1])


def test_the_share_is_1_at_the_own_lora_alone_and_0_without_it() -> None:
    assert arms(0.1, 0.5, 0.0, 0.5).share(ONCE) == pytest.approx([1.0])
    assert arms(0.1, 0.5, 0.3, 0.3).share(ONCE) == pytest.approx([0.0])
    assert np.isnan(arms(0.5, 0.5, 0.0, 0.5).share(ONCE)[0])


def test_the_second_styles_direction_is_that_of_the_other_prompts() -> None:
    """An image is never compared with its own prompt's way, which it shares whatever the style is."""
    way = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    prompts = np.array(["a", "b", "b"])
    assert along(np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]]), way, prompts).tolist() == [2.0, 1.0, 2.0]

import numpy as np
import pytest

from anime_lora.evaluation.metrics.quality import memorisation


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_memorisation_is_1_for_copies_and_half_for_new_images_of_the_same_kind() -> None:
    """Images of another kind give 0; ties count half."""
    rng = np.random.default_rng(3)
    train, holdout, new = (unit(rng.normal(size=(n, 16)) + 4 * np.eye(16)[0]) for n in (200, 400, 4000))
    assert memorisation(train[:5], train, holdout).tolist() == [1.0] * 5
    assert memorisation(holdout, train, holdout).mean() == pytest.approx(0.5)
    assert memorisation(new, train, holdout).mean() == pytest.approx(0.5, abs=0.05)
    assert memorisation(-new, train, holdout).max() == 0


@pytest.mark.parametrize(("taught", "held"), [(217, 23), (20, 20), (10, 100)])
def test_memorisation_sees_copies_whatever_the_split(taught: int, held: int) -> None:
    """Half the generated images are copies: A is 0.75 on average, however many images are held out."""
    rng, means = np.random.default_rng(4), []
    for _ in range(60):
        train, holdout, new = (unit(rng.normal(size=(n, 6))) for n in (taught, held, 8))
        means.append(memorisation(np.concatenate([train[:8], new]), train, holdout).mean())
    assert np.mean(means) == pytest.approx(0.75, abs=0.03)

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anime_lora.config.load import load_params
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.promotion import Decision, Scores, Units, decide, read_champion
from anime_lora.evaluation.statistics import PairedUnits

PROMPTS, SEEDS, PEOPLE = 8, 2, 24
PARAMS = Path(__file__).parents[2] / "params.yaml"


def scores(seed: int, better: float = 0.0, **shifts: float) -> Scores:
    """A model's scores: prompts matter alike for all models, noise is the model's own."""
    own, shared = np.random.default_rng(seed), np.random.default_rng(99)

    def units(name: str, mean: float, spread: float, count: int, repeats: int) -> PairedUnits:
        prompts = [f"{name} {n // repeats}" for n in range(count * repeats)]
        common = shared.normal(0, spread, count).repeat(repeats)
        values = mean + shifts.get(name, 0.0) + common + own.normal(0, spread, count * repeats)
        return PairedUnits(prompts, [f"{p} {n}" for n, p in enumerate(prompts)], values.tolist())

    style = units("style", 0.6 + better, 0.02, PROMPTS, SEEDS)
    every = Units(
        style=replace(style, base=[0.3] * (PROMPTS * SEEDS), own=0.9),
        features=units("features", 0.9, 0.003, PROMPTS, SEEDS),
        identity=units("identity", 0.7, 0.003, PEOPLE, 1),
        diversity=units("diversity", 0.4, 0.004, PROMPTS, SEEDS),
        sharpness=units("sharpness", 0.2, 0.002, PROMPTS, SEEDS),
        memorisation=units("memorisation", 0.5, 0.01, PROMPTS, SEEDS),
        drift=units("drift", 0.1, 0.004, PROMPTS, 1),
    )
    return Scores(suite_id="s", gates={"finite weights": True, "scale 0 is the base": True}, units=every)


def decision_of(candidate: Scores, champion: Scores | None) -> Decision:
    settings = load_params(PARAMS).evaluate
    return decide(candidate, champion, settings.model_copy(update={"bootstrap": 500, "seed": 0}))


def promoted(candidate: Scores, champion: Scores | None) -> bool:
    return decision_of(candidate, champion).promoted


def test_two_equal_models_promote_in_at_most_5_percent_of_runs() -> None:
    runs = [promoted(scores(2 * n), scores(2 * n + 1)) for n in range(200)]
    assert np.mean(runs) <= 0.05


def test_more_style_and_nothing_worse_becomes_champion() -> None:
    """The reason says by how much."""
    decision = decision_of(scores(1, better=0.1), scores(2))
    assert decision.promoted, decision.reason
    assert decision.reason.startswith("promoted: S 0.")
    assert not promoted(scores(1), scores(1))


@pytest.mark.parametrize(
    ("measure", "shift"),
    [
        ("features", -0.05),
        ("identity", -0.03),
        ("diversity", -0.05),
        ("sharpness", -0.03),
        ("memorisation", 0.2),
        ("drift", 0.05),
    ],
)
def test_more_style_does_not_buy_a_loss_elsewhere(measure: str, shift: float) -> None:
    """The reason names the loss."""
    decision = decision_of(scores(1, better=0.1, **{measure: shift}), scores(2))
    assert not decision.promoted
    failed = [test for test in decision.tests if not test.passed]
    assert len(failed) == 1
    assert failed[0].name in decision.reason


def test_a_failed_gate_another_suite_or_a_missing_measure_keeps_the_champion() -> None:
    good, champion = scores(1, better=0.1), scores(2)
    broken = good.model_copy(update={"gates": {**good.gates, "finite weights": False}})
    other = good.model_copy(update={"suite_id": "t"})
    partial = good.model_copy(update={"units": replace(good.units, identity=None)})
    for candidate, word in ((broken, "finite weights"), (other, "same suite"), (partial, "identity")):
        decision = decision_of(candidate, champion)
        assert not decision.promoted
        assert word in decision.reason


def test_without_a_champion_the_gates_and_s_above_the_base_decide() -> None:
    assert promoted(scores(1), None)
    assert not promoted(scores(1, better=-0.3), None)
    assert not promoted(scores(1, memorisation=0.2), None)


def test_a_champions_file_comes_back_as_scores_and_another_is_one_clear_error(tmp_path: Path) -> None:
    scores(1).write(tmp_path / "scores.json", {})
    assert read_champion(str(tmp_path / "scores.json")) == scores(1)
    assert read_champion(None) is None
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(EvaluationError, match=r"evaluate\.champion"):
        read_champion(str(tmp_path / "scores.json"))

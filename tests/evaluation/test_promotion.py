import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anime_lora.config.load import load_params
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.promotion import Decision, Scores, decide, read_champion

PROMPTS, SEEDS, PEOPLE = 8, 2, 24
PARAMS = Path(__file__).parents[2] / "params.yaml"


def scores(seed: int, better: float = 0.0, **shifts: float) -> Scores:
    """A model's scores: prompts matter alike for all models, noise is the model's own."""
    own, shared = np.random.default_rng(seed), np.random.default_rng(99)

    def units(name: str, mean: float, spread: float, count: int, repeats: int) -> dict[str, Any]:
        prompts = [f"{name} {n // repeats}" for n in range(count * repeats)]
        common = shared.normal(0, spread, count).repeat(repeats)
        values = mean + shifts.get(name, 0.0) + common + own.normal(0, spread, count * repeats)
        return {"clusters": prompts, "units": [f"{p} {n}" for n, p in enumerate(prompts)], "lora": values.tolist()}

    found = {
        "style": units("style", 0.6 + better, 0.02, PROMPTS, SEEDS),
        "features": units("features", 0.9, 0.003, PROMPTS, SEEDS),
        "identity": units("identity", 0.7, 0.003, PEOPLE, 1),
        "diversity": units("diversity", 0.4, 0.004, PROMPTS, SEEDS),
        "sharpness": units("sharpness", 0.2, 0.002, PROMPTS, SEEDS),
        "memorisation": units("memorisation", 0.5, 0.01, PROMPTS, SEEDS),
        "drift": units("drift", 0.1, 0.004, PROMPTS, 1),
    }
    found["style"] |= {"base": [0.3] * (PROMPTS * SEEDS), "own": 0.9}
    return {"suite_id": "s", "gates": {"finite weights": True, "scale 0 is the base": True}, "units": found}


def judged(candidate: Scores, champion: Scores | None) -> Decision:
    settings = load_params(PARAMS).evaluate
    return decide(candidate, champion, settings.model_copy(update={"bootstrap": 500, "seed": 0}))


def promoted(candidate: Scores, champion: Scores | None) -> bool:
    return judged(candidate, champion).promoted


def test_equal_models() -> None:
    """Two equal models promote in at most 5 % of runs."""
    runs = [promoted(scores(2 * n), scores(2 * n + 1)) for n in range(200)]
    assert np.mean(runs) <= 0.05


def test_better() -> None:
    """A model with clearly more style and nothing worse becomes champion, with the reason."""
    decision = judged(scores(1, better=0.1), scores(2))
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
def test_worse(measure: str, shift: float) -> None:
    """More style does not buy a loss elsewhere, and the reason names it."""
    decision = judged(scores(1, better=0.1, **{measure: shift}), scores(2))
    assert not decision.promoted
    failed = [test for test in decision.tests if not test.passed]
    assert len(failed) == 1
    assert failed[0].name in decision.reason


def test_gates() -> None:
    """A failed gate, another suite or a measure that is missing keeps the champion."""
    good, champion = scores(1, better=0.1), scores(2)
    broken, other, partial = (copy.deepcopy(good) for _ in range(3))
    broken["gates"]["finite weights"] = False
    other["suite_id"] = "t"
    del partial["units"]["identity"]
    for candidate, word in ((broken, "finite weights"), (other, "same suite"), (partial, "identity")):
        decision = judged(candidate, champion)
        assert not decision.promoted
        assert word in decision.reason


def test_first_champion() -> None:
    """Without a champion the gates and S above the base decide."""
    assert promoted(scores(1), None)
    assert not promoted(scores(1, better=-0.3), None)
    assert not promoted(scores(1, memorisation=0.2), None)


def test_read_champion(tmp_path: Path) -> None:
    """A champion's file comes back as scores; another file is one clear error."""
    (tmp_path / "scores.json").write_text(json.dumps(scores(1)))
    assert read_champion(str(tmp_path / "scores.json")) == {**scores(1), "dataset": None}
    assert read_champion(None) is None
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(EvaluationError, match=r"evaluate\.champion"):
        read_champion(str(tmp_path / "scores.json"))

"""Claims are decided from intervals alone; what was not measured says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from anime_lora.config.load import load_params
from anime_lora.evaluation.claims import Claim, decide_claims
from anime_lora.evaluation.metrics.combining import CombiningMetrics
from anime_lora.evaluation.metrics.img2img import ControlNetMetrics, StrengthMetrics
from anime_lora.evaluation.metrics.prompt import FeatureMetrics, HairMetrics
from anime_lora.evaluation.metrics.quality import (
    ClippedMetrics,
    CopyMetrics,
    DiversityMetrics,
    DriftMetrics,
    MemorisationMetrics,
    SharpnessMetrics,
)
from anime_lora.evaluation.metrics.results import ArithmeticMetrics, Measurements
from anime_lora.evaluation.metrics.style import DomainMetrics, StyleMetrics, TriggerMetrics
from anime_lora.evaluation.metrics.sweeps import GuidanceMetrics, ScaleMetrics, StyleWordMetrics
from anime_lora.evaluation.statistics import Estimate, exact
from anime_lora.sampling.results import AdapterChecks

SETTINGS = load_params(Path(__file__).parents[2] / "params.yaml").evaluate
CHECKS = AdapterChecks(
    prompts=("a", "b"), zero=(0.0, 0.0), merged=(0.0, 0.0), sum=(0.0, 0.0), unloaded=(0.0, 0.0), effect=(0.1, 0.1),
    second=True, shares=(0.4, 0.6), dtype="torch.float32", finite=True,
)  # fmt: skip
NOTHING = Measurements(
    sharpness=SharpnessMetrics(),
    clipped=ClippedMetrics(),
    copies=CopyMetrics(),
    hair=HairMetrics(),
    arithmetic=ArithmeticMetrics(),
    changed=exact(1.0, 16),
    structure=(),
    style=StyleMetrics(missing="no encoder"),
    domain=DomainMetrics(),
    trigger=TriggerMetrics(missing="no encoder"),
    features=FeatureMetrics(missing="no prompt asks"),
    strength=StrengthMetrics(missing="no sources"),
    controlnet=ControlNetMetrics(missing="no sources"),
    guidance=GuidanceMetrics(missing="no text side"),
    style_words=StyleWordMetrics(missing="no words"),
    scale=ScaleMetrics(missing="one scale"),
    combining=CombiningMetrics(missing="no second LoRA"),
    memorisation=MemorisationMetrics(missing="no encoder"),
    drift=DriftMetrics(missing="no encoder"),
    diversity=DiversityMetrics(missing="no encoder"),
)
HIGH, UNSURE = Estimate(0.5, 0.3, 0.7, 8, 16), Estimate(0.1, -0.1, 0.3, 8, 16)


def claim(measured: Measurements, name: str) -> Claim:
    return next(one for one in decide_claims(measured, CHECKS, SETTINGS) if one.id == name)


def test_a_claim_that_was_not_measured_says_why_and_has_no_number() -> None:
    claims = decide_claims(NOTHING, CHECKS, SETTINGS)
    assert {one.verdict for one in claims} == {"not measurable here"}
    assert {one.value for one in claims} == {None}
    assert claim(NOTHING, "combining").reason == "Not measured: no second LoRA."
    assert claim(NOTHING, "features").reason == "Not measured: no prompt asks."


@pytest.mark.parametrize(("score", "verdict"), [(HIGH, "shown"), (UNSURE, "not shown")])
def test_a_claim_is_shown_where_its_whole_interval_lies_on_the_right_side(score: Estimate, verdict: str) -> None:
    style = claim(replace(NOTHING, style=StyleMetrics(score=score)), "style")
    assert style.verdict == verdict
    assert (style.value, style.interval, style.n, style.images) == (score.value, (score.low, score.high), 8, 16)


def test_one_prompt_gives_no_interval_and_so_no_verdict() -> None:
    one_prompt = replace(NOTHING, trigger=TriggerMetrics(interaction=Estimate(0.5, None, None, 1, 4)))
    assert claim(one_prompt, "trigger").reason == "Not measured: an interval needs at least two prompts."


def test_a_lora_that_changes_nothing_shows_nothing() -> None:
    measured = replace(NOTHING, changed=exact(0.0, 16), drift=DriftMetrics(unrelated=Estimate(0.0, 0.0, 0.0, 8, 16)))
    assert claim(measured, "drift").verdict == "not shown"
    assert "changes nothing" in claim(measured, "drift").reason
    assert claim(measured, "style").verdict == "not measurable here"


@pytest.mark.parametrize(("merged", "verdict"), [(1e-6, "shown"), (1e-3, "not shown")])
def test_the_scale_is_adjustable_only_where_the_arithmetic_is_exact(merged: float, verdict: str) -> None:
    arithmetic = ArithmeticMetrics(zero=Estimate(0.0, 0.0, 0.0, 4, 4), merged=Estimate(merged, merged, merged, 4, 4))
    measured = replace(NOTHING, scale=ScaleMetrics(rho_style=HIGH), arithmetic=arithmetic)
    assert claim(measured, "scale").verdict == verdict


def test_a_limit_is_the_settings() -> None:
    measured = replace(NOTHING, memorisation=MemorisationMetrics(lora=HIGH))
    for limit, verdict in ((0.75, "shown"), (0.65, "not shown")):
        settings = SETTINGS.model_copy(update={"max_memorisation": limit})
        claims = decide_claims(measured, CHECKS, settings)
        assert next(one for one in claims if one.id == "memorisation").verdict == verdict
        assert f"{limit:g}" in next(one for one in claims if one.id == "memorisation").rule


def test_diverse_images_must_be_sharp_as_well() -> None:
    diverse = replace(NOTHING, diversity=DiversityMetrics(ratio=Estimate(0.9, 0.8, 1.0, 8, 32)))
    sharp = replace(diverse, sharpness=SharpnessMetrics(against_holdout=Estimate(0.9, 0.8, 1.0, 8, 16)))
    blurred = replace(diverse, sharpness=SharpnessMetrics(against_holdout=Estimate(0.6, 0.5, 0.7, 8, 16)))
    assert [claim(one, "diversity").verdict for one in (sharp, blurred)] == ["shown", "not shown"]

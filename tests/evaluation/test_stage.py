import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anime_lora.errors import DatasetError, EvaluationError, SamplingError
from anime_lora.evaluation import stage
from anime_lora.evaluation.encoders import load_encoders
from anime_lora.sampling.suite import Shot
from tests.support.world import COLOURS, World, learned, untrained


def read(world: World, name: str) -> Any:
    return json.loads((world.out / name).read_text())


def verdicts(world: World) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in read(world, "claims.json")}


def number(world: World, name: str) -> Any:
    """An estimate of scores.json by its path: style.score."""
    value = read(world, "scores.json")["numbers"]
    for part in name.split("."):
        value = value[part]
    return value


def test_a_lora_that_learned_the_style_has_its_claims_shown_with_intervals(world: World) -> None:
    """It follows prompts and leaves the rest alone."""
    world.generate(learned)
    world.evaluate()
    claims = {claim["id"]: claim for claim in read(world, "claims.json")}
    shown = {
        "style", "features", "strength", "guidance", "styles", "scale", "combining", "controlnet", "drift", "diversity",
    }  # fmt: skip
    assert shown <= {name for name, claim in claims.items() if claim["verdict"] == "shown"}
    assert claims["trigger"]["verdict"] == "not shown"
    assert all(len(claim["interval"]) == 2 and claim["n"] for claim in claims.values())
    assert 0.5 < number(world, "style.score")["low"] < number(world, "style.score")["value"] < 1.1
    assert number(world, "features.accuracy")["value"] == number(world, "features.ceiling")["value"] == 1
    assert number(world, "features.attributes.hair.accuracy")["value"] == 1
    assert number(world, "strength.rho_style")["value"] == pytest.approx(1)
    assert number(world, "strength.keeping.nearer")["low"] > 0.5
    assert number(world, "strength.truth_gain")["low"] > 0
    assert number(world, "combining.second")["value"] > 0.5
    assert number(world, "sharpness.against_native")["n"] == 8
    assert {file.stem for file in (world.out / "plots").glob("*.csv")} == {
        "strength",
        "structure",
        "guidance",
        "scale",
        "styles",
        "heldout",
    }


def test_metrics_json_holds_at_most_20_numbers_in_one_level(world: World) -> None:
    """What a person compares between two nights: each is a number of scores.json, and none where none was measured."""
    world.generate(learned)
    world.evaluate()
    metrics = read(world, "metrics.json")
    assert len(metrics) == 20
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert metrics["claims_shown"] == sum(verdict == "shown" for verdict in verdicts(world).values())
    assert metrics["heldout_loss"] == 0.3
    style = number(world, "style.score")
    assert [metrics[name] for name in ("style", "style_low", "style_high")] == list(
        map(style.get, ("value", "low", "high"))
    )
    assert metrics["controlnet"] == number(world, "controlnet.identity_gain")["value"]
    world.generate(learned, controlnet=None)
    world.evaluate()
    assert metrics.keys() - read(world, "metrics.json").keys() == {"controlnet"}


def test_without_a_second_lora_and_a_controlnet_it_is_said_what_to_set(world: World) -> None:
    """Their claims are not measurable here."""
    world.generate(learned, second=None, controlnet=None)
    world.evaluate()
    claims = {claim["id"]: claim for claim in read(world, "claims.json")}
    for name, setting in (("combining", "second_adapter"), ("controlnet", "validate_sample.controlnet")):
        assert claims[name]["verdict"] == "not measurable here"
        assert setting in claims[name]["reason"]


def test_two_loras_do_not_combine_when_one_style_is_gone_with_both_on(world: World) -> None:
    """Also when they add up as numbers."""

    def lost(shot: Shot) -> Any:
        return learned(replace(shot, arm="lora") if shot.arm == "both" else shot)

    world.generate(lost)
    world.evaluate()
    assert number(world, "combining.first")["value"] == pytest.approx(1)
    assert number(world, "combining.weaker")["value"] == pytest.approx(0, abs=1e-9)
    assert verdicts(world)["combining"] == "not shown"


def test_a_controlnet_that_only_weakens_the_style_gains_no_identity(world: World) -> None:
    """At equal style, that is: at equal strength it keeps more of the person."""

    def weaker(shot: Shot) -> Any:
        return learned(replace(shot, arm="lora", strength=0.5) if shot.arm == "control" else shot)

    world.generate(weaker)
    world.evaluate()
    assert number(world, "controlnet.identity_change")["low"] > 0
    assert number(world, "controlnet.identity_gain")["value"] == pytest.approx(0, abs=0.02)
    assert verdicts(world)["controlnet"] == "not shown"


def test_the_first_run_beats_the_base_and_the_same_lora_again_nobody(world: World) -> None:
    """Each run is a challenger; a champion that is not there is one clear error."""
    world.generate(learned)
    world.evaluate()
    decision = read(world, "decision.json")
    failed = [test["name"] for test in decision["tests"] if not test["passed"]]
    assert failed == []
    champion = world.folder / "champion.json"
    champion.write_text((world.out / "scores.json").read_text())
    world.evaluate(champion=str(champion))
    decision = read(world, "decision.json")
    assert not decision["promoted"]
    assert "better style than the champion" in decision["reason"]
    with pytest.raises(EvaluationError, match="champion"):
        world.evaluate(champion="nowhere.json")


def test_a_lora_of_zeros_gives_s_0_and_no_claim(world: World) -> None:
    world.generate(untrained, effect=0.0)
    world.evaluate()
    style = number(world, "style.score")
    assert [style[name] for name in ("value", "low", "high")] == [0, 0, 0]
    assert set(verdicts(world).values()) == {"not shown"}
    assert read(world, "report.json")["verdict"]["level"] == "bad"


def test_images_of_shuffled_prompts_are_right_as_often_as_chance(world: World) -> None:
    rng = np.random.default_rng(0)

    def shuffled(shot: Shot) -> Any:
        return learned(replace(shot, prompt=str(rng.choice(list(COLOURS)))))

    world.generate(shuffled)
    world.evaluate()
    accuracy = number(world, "features.accuracy")
    assert accuracy["low"] < 0.25 < accuracy["high"]
    assert verdicts(world)["features"] == "not shown"


def test_a_lora_that_repeats_its_training_images_has_a_near_1(world: World) -> None:
    from PIL import Image

    world.teach(train=10, holdout=10)
    taught = sorted((world.dataset / "images").glob("*.png"))[:10]

    def copy(shot: Shot) -> Any:
        return Image.open(taught[(shot.ordinal + shot.seed) % 10]) if shot.lora_scale else learned(shot)

    world.generate(copy)
    world.evaluate()
    assert number(world, "memorisation.lora")["value"] == 1.0
    assert number(world, "copies.share")["value"] == 1.0
    assert verdicts(world)["memorisation"] == "not shown"


def test_the_stage_run_twice_writes_the_same_bytes_and_names_no_folder_of_this_machine(world: World) -> None:
    world.generate(learned)
    world.evaluate()
    first = {file.relative_to(world.out): file.read_bytes() for file in world.out.rglob("*") if file.is_file()}
    world.evaluate()
    assert first == {file.relative_to(world.out): file.read_bytes() for file in world.out.rglob("*") if file.is_file()}
    assert all(str(world.folder).encode() not in content for content in first.values())


def test_a_missing_or_broken_encoder_is_named_and_the_rest_is_measured(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stage, "load_encoders", load_encoders)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    world.generate(learned)
    world.evaluate(encoders=("nowhere", "broken"))
    named = " ".join(one["what"] for one in read(world, "report.json")["skipped"])
    assert "encoder nowhere" in named
    assert "encoder broken" in named
    for name in ("sharpness.lora", "clipped.lora", "hair.lora", "copies.share"):
        assert np.isfinite(number(world, name)["value"])
    assert "style" not in read(world, "metrics.json")
    assert "style" not in read(world, "scores.json")["numbers"]
    assert verdicts(world)["style"] == "not measurable here"


def test_missing_images_or_dataset_are_one_clear_error_and_leave_nothing(world: World) -> None:
    with pytest.raises(SamplingError, match=r"suite\.json cannot be read"):
        world.evaluate()
    world.generate(learned)
    (world.samples / "images" / "drift-base-00-s1.png").unlink()
    with pytest.raises(EvaluationError, match="listed but not there"):
        world.evaluate()
    (world.dataset / "metadata.jsonl").unlink()
    with pytest.raises(DatasetError, match="organize"):
        world.evaluate()
    assert not world.out.exists()


def test_without_held_out_images_the_style_is_not_measurable_and_it_is_said_why(world: World) -> None:
    world.teach(train=20, holdout=0)
    world.generate(learned)
    world.evaluate()
    style = next(claim for claim in read(world, "claims.json") if claim["id"] == "style")
    assert style["verdict"] == "not measurable here"
    assert "holdout_share" in style["reason"]
    assert any("holdout_share" in one["reason"] for one in read(world, "report.json")["skipped"])

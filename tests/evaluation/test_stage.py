import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anime_lora.errors import DatasetError, EvaluationError
from anime_lora.evaluation import stage
from anime_lora.evaluation.encoders import load_encoders
from anime_lora.sampling.suite import Shot
from tests.support.world import COLOURS, World, learned, untrained


def read(world: World, name: str) -> Any:
    return json.loads((world.out / name).read_text())


def verdicts(world: World) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in read(world, "claims.json")}


def test_learned(world: World) -> None:
    """A LoRA that learned the style, follows prompts and leaves the rest alone has its claims shown, with intervals."""
    world.generate(learned)
    world.evaluate()
    claims = {claim["id"]: claim for claim in read(world, "claims.json")}
    shown = {
        "style", "features", "strength", "guidance", "styles", "scale", "combining", "controlnet", "drift", "diversity",
    }  # fmt: skip
    assert shown <= {name for name, claim in claims.items() if claim["verdict"] == "shown"}
    assert claims["trigger"]["verdict"] == "not shown"
    assert all(len(claim["interval"]) == 2 and claim["n"] for claim in claims.values())
    metrics = read(world, "metrics.json")
    assert 0.5 < metrics["style"]["low"] < metrics["style"]["value"] < 1.1
    assert metrics["heldout_loss"] == {"value": 0.3, "base": 0.5}
    assert metrics["features.accuracy"]["value"] == metrics["features.ceiling"]["value"] == 1
    assert metrics["strength.rho_style"]["value"] == pytest.approx(1)
    assert metrics["strength.at_0.65.nearer"]["low"] > 0.5
    assert metrics["strength.truth_gain"]["low"] > 0
    assert metrics["combining.second"]["value"] > 0.5
    assert metrics["sharpness.against_native"]["n"] == 8
    assert {file.stem for file in (world.out / "plots").glob("*.csv")} == {
        "strength",
        "structure",
        "guidance",
        "scale",
        "styles",
        "heldout",
    }


def test_alone(world: World) -> None:
    """Without a second LoRA and a ControlNet their claims are not measurable, and it is said what to set."""
    world.generate(learned, second=None, controlnet=None)
    world.evaluate()
    claims = {claim["id"]: claim for claim in read(world, "claims.json")}
    for name, setting in (("combining", "second_adapter"), ("controlnet", "validate_sample.controlnet")):
        assert claims[name]["verdict"] == "not measurable here"
        assert setting in claims[name]["reason"]


def test_one_style_eats_the_other(world: World) -> None:
    """Two LoRAs that add up as numbers do not combine when one of the styles is gone with both on."""

    def lost(shot: Shot) -> Any:
        return learned(replace(shot, arm="lora") if shot.arm == "both" else shot)

    world.generate(lost)
    world.evaluate()
    metrics = read(world, "metrics.json")
    assert metrics["combining.first"]["value"] == pytest.approx(1)
    assert metrics["combining.weaker"]["value"] == pytest.approx(0, abs=1e-9)
    assert verdicts(world)["combining"] == "not shown"


def test_control_that_keeps_nothing(world: World) -> None:
    """A ControlNet that only weakens the style gains no identity at equal style."""

    def weaker(shot: Shot) -> Any:
        return learned(replace(shot, arm="lora", strength=0.5) if shot.arm == "control" else shot)

    world.generate(weaker)
    world.evaluate()
    metrics = read(world, "metrics.json")
    assert metrics["controlnet.identity_change"]["low"] > 0
    assert metrics["controlnet.identity_gain"]["value"] == pytest.approx(0, abs=0.02)
    assert verdicts(world)["controlnet"] == "not shown"


def test_decision(world: World) -> None:
    """Each run is a challenger: the first beats the base, the same LoRA again nobody; a broken one is kept out."""
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


def test_zeros(world: World) -> None:
    """A LoRA of zeros gives S = 0 and no claim shown."""
    world.generate(untrained, effect=0.0)
    world.evaluate()
    assert read(world, "metrics.json")["style"] | {"n": 0, "pictures": 0} == {
        "value": 0,
        "low": 0,
        "high": 0,
        "n": 0,
        "pictures": 0,
    }
    assert set(verdicts(world).values()) == {"not shown"}
    assert read(world, "report.json")["verdict"]["level"] == "bad"


def test_shuffled(world: World) -> None:
    """Images whose prompts were shuffled are right as often as chance."""
    rng = np.random.default_rng(0)

    def shuffled(shot: Shot) -> Any:
        return learned(replace(shot, prompt=str(rng.choice(list(COLOURS)))))

    world.generate(shuffled)
    world.evaluate()
    accuracy = read(world, "metrics.json")["features.accuracy"]
    assert accuracy["low"] < 0.25 < accuracy["high"]
    assert verdicts(world)["features"] == "not shown"


def test_copies(world: World) -> None:
    """A LoRA that repeats its training images has A near 1 and its claim fails."""
    from PIL import Image

    world.teach(train=10, holdout=10)
    taught = sorted((world.dataset / "images").glob("*.png"))[:10]

    def copy(shot: Shot) -> Any:
        return Image.open(taught[(shot.ordinal + shot.seed) % 10]) if shot.lora_scale else learned(shot)

    world.generate(copy)
    world.evaluate()
    metrics = read(world, "metrics.json")
    assert metrics["memorisation.lora"]["value"] == 1.0
    assert metrics["copies.share"]["value"] == 1.0
    assert verdicts(world)["memorisation"] == "not shown"


def test_same_bytes(world: World) -> None:
    """The stage run twice writes the same bytes, and nothing that names this machine."""
    world.generate(learned)
    world.evaluate()
    first = {file.relative_to(world.out): file.read_bytes() for file in world.out.rglob("*") if file.is_file()}
    world.evaluate()
    assert first == {file.relative_to(world.out): file.read_bytes() for file in world.out.rglob("*") if file.is_file()}
    assert all(str(world.folder).encode() not in content for content in first.values())


def test_no_encoder(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing or broken encoder is named as skipped; what needs no weights is measured all the same."""
    monkeypatch.setattr(stage, "load_encoders", load_encoders)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    world.generate(learned)
    world.evaluate(encoders=("nowhere", "broken"))
    named = " ".join(one["what"] for one in read(world, "report.json")["skipped"])
    assert "encoder nowhere" in named
    assert "encoder broken" in named
    metrics = read(world, "metrics.json")
    assert {"sharpness.lora", "clipped.lora", "hair.lora", "copies.share"} <= set(metrics)
    assert "style" not in metrics
    assert verdicts(world)["style"] == "not measurable here"


def test_missing(world: World) -> None:
    """Images or a dataset that are not there are one clear error and leave nothing behind."""
    with pytest.raises(EvaluationError, match=r"suite\.json cannot be read"):
        world.evaluate()
    world.generate(learned)
    (world.samples / "images" / "drift-base-00-s1.png").unlink()
    with pytest.raises(EvaluationError, match="listed but not there"):
        world.evaluate()
    (world.dataset / "metadata.jsonl").unlink()
    with pytest.raises(DatasetError, match="dvc repro organize"):
        world.evaluate()
    assert not world.out.exists()


def test_dataset_without_holdout(world: World) -> None:
    """Without held-out images the style is not measurable, and it is said."""
    world.teach(train=20, holdout=0)
    world.generate(learned)
    world.evaluate()
    assert verdicts(world)["style"] == "not measurable here"
    assert any("holdout_share" in one["reason"] for one in read(world, "report.json")["skipped"])

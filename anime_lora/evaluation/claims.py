"""The write-up's claims, each with its verdict, the rule behind it and the number it rests on."""

from typing import Any

from anime_lora.evaluation.findings import Findings
from anime_lora.evaluation.verdict import Claim
from anime_lora.evaluation.wording import number, percent, with_interval
from anime_lora.params.evaluate import Evaluate

EXACT = {"torch.float32": 1e-4}
"""Largest error of merging and adding in fp32; half precision gets `ROUGH`."""
ROUGH = 3e-2


def judge(found: Findings, checks: dict[str, Any], settings: Evaluate) -> list[dict[str, Any]]:
    """Every claim in the write-up's order.

    Args:
        found: all that was measured; `changes`, `merged`, `sum` come from `arithmetic`.
        checks: validate-sample's checks.json.
        settings: limits that count as shown.
    """
    changed = found.get("changes")
    claims = [
        _style(found), _trigger(found), _features(found), _strength(found), _guidance(found), _styles(found),
        _scale(found, checks), _combining(found, checks), _controlnet(found),
        _copying(found, settings), _drift(found, settings), _diversity(found, settings),
    ]  # fmt: skip
    return [claim.judged(changed is None or changed.value > 0) for claim in claims]


def _value(found: Findings, name: str) -> str:
    return with_interval(found.get(name))


def _arms(found: Findings, name: str) -> str:
    lora, base, holdout = (_value(found, f"{name}.{arm}") for arm in ("lora", "base", "holdout"))
    return f"LoRA {lora}, base {base}, held-out pictures {holdout}"


def _style(found: Findings) -> Claim:
    moved = found.get("style")
    share = percent(moved.value if moved else None)
    return Claim(
        "style", "The model learned the style", "Style S", moved, "lower bound above 0", lambda e: e.above(0),
        f"Pictures moved {share} of the way from the base to the held-out style pictures.",
        f"S is {_value(found, 'style')}: not surely closer to the held-out style pictures than the base is.",
        gallery="base-lora",
        missing="the base is already as close to the style as its pictures are to each other, or no encoder was loaded",
        details=[
            ("CMMD, unbiased, LoRA", f"{_value(found, 'cmmd.lora')} (base {_value(found, 'cmmd.base')})"),
            ("CMMD, how far it fell", _value(found, "cmmd.fall")),
            ("Seen as the style's domain", f"{_value(found, 'domain.lora')} (base {_value(found, 'domain.base')}, "
                                           f"held-out pictures {_value(found, 'domain.ceiling')})"),
        ],
    )  # fmt: skip


def _trigger(found: Findings) -> Claim:
    consistency = (f"{cell} {_value(found, f'trigger.consistency.{cell}')}" for cell in ("B0", "BT", "L0", "LT"))
    return Claim(
        "trigger", "The trigger word makes the style consistent", "Interaction, in S", found.get("trigger.interaction"),
        "lower bound above 0", lambda e: e.above(0),
        "The trigger adds more style with the LoRA than without it: the word is bound to the style.",
        "The trigger adds no more style with the LoRA than without it: every training caption held it, so the LoRA "
        "shows its style either way.",
        gallery="trigger",
        details=[
            ("Trigger gain with the LoRA", _value(found, "trigger.gain_with_lora")),
            ("Trigger gain of the base", _value(found, "trigger.gain_of_base")),
            ("LoRA gain with the trigger", _value(found, "trigger.lora_gain")),
            ("Consistency (mean pairwise cosine)", "; ".join(consistency)),
            ("Consistency gained by the trigger", _value(found, "trigger.consistency_gain")),
        ],
    )  # fmt: skip


def _features(found: Findings) -> Claim:
    guess = found.get("features.chance")
    limit = guess.value if guess else 1.0
    ceiling = _value(found, "features.ceiling")
    return Claim(
        "features", "Features follow the prompt", "Attribute accuracy", found.get("features.accuracy"),
        "lower bound above chance", lambda e: e.above(limit),
        f"{_value(found, 'features.accuracy')} of what prompts ask for is seen; guessing gives {number(limit)}, "
        f"the classifier itself reaches {ceiling} on held-out pictures.",
        f"What is seen ({_value(found, 'features.accuracy')}) is not surely better than guessing ({number(limit)}).",
        gallery="features",
        details=[
            ("Base on the same prompts", _value(found, "features.base")),
            ("LoRA minus base", _value(found, "features.change")),
            ("Hair colour by hue alone", f"{_value(found, 'hair.lora')} (base {_value(found, 'hair.base')}, "
                                         f"held-out pictures {_value(found, 'hair.ceiling')})"),
        ],
    )  # fmt: skip


def _strength(found: Findings) -> Claim:
    falling = found.get("strength.rho_identity")

    def at(value: str) -> str:
        return ", ".join(
            f"{name} {_value(found, f'strength.at_{value}.{key}')}"
            for name, key in (("style S", "style"), ("identity", "identity"), ("attributes kept", "agreement"))
        )

    return Claim(
        "strength", "Strength trades identity for style", "Spearman ρ of style and strength",
        found.get("strength.rho_style"), "ρ of style above 0 and ρ of identity below 0, whole intervals",
        lambda e: e.above(0) and falling is not None and falling.below(0),
        "The higher the strength, the more style and the less of the person.",
        "Style does not surely rise, or identity does not surely fall, with strength.",
        clusters="sources", gallery="strength", curve="strength",
        missing="there are no source pictures (validate_sample.sources), or no encoder was loaded",
        details=[
            ("Spearman ρ of identity and strength", _value(found, "strength.rho_identity")),
            ("At 0.65", at("0.65")),
            ("At 0.8", at("0.8")),
            ("Style gained from 0.65 to 0.8", _value(found, "strength.style_rise")),
            ("Style at equal identity, LoRA minus base", _value(found, "strength.style_at_equal_identity")),
            ("Nearest to its own true counterpart at 0.65", _value(found, "strength.at_0.65.found")),
        ],
    )  # fmt: skip


def _guidance(found: Findings) -> Claim:
    return Claim(
        "guidance", "Guidance changes the result", "Faithfulness gained, 7.5 against the least",
        found.get("guidance.faithfulness_gain"), "interval leaves out 0", lambda e: e.above(0) or e.below(0),
        "Guidance changes how close pictures are to their prompt.",
        "The pictures are not surely closer to their prompt at guidance 7.5 than at the least guidance.",
        gallery="guidance", curve="guidance",
        details=[("Spearman ρ of faithfulness and guidance", _value(found, "guidance.rho_faithfulness"))],
    )  # fmt: skip


def _styles(found: Findings) -> Claim:
    return Claim(
        "styles", "Style words change the result", "Pull of the word (cosine gained)", found.get("styles.gain"),
        "lower bound above 0", lambda e: e.above(0),
        "With a style word the picture is closer to that word than without it, on the same noise.",
        "A style word does not surely pull the picture its way.",
        clusters="prompts x styles", gallery="styles",
        missing="no style words are set (validate_sample.styles), or no encoder with a text side was loaded",
        details=[
            ("Closest to its own word among the words", _value(found, "styles.nearest_is_own")),
            ("Change by the word, (1 − cosine)/2", _value(found, "styles.change")),
        ],
    )  # fmt: skip


def _exact(checks: dict[str, Any]) -> float:
    return EXACT.get(str(checks.get("dtype")), ROUGH)


def _scale(found: Findings, checks: dict[str, Any]) -> Claim:
    merged, zero, limit = found.get("arithmetic.merged"), found.get("arithmetic.zero"), _exact(checks)
    exact = merged is not None and merged.value < limit and zero is not None and zero.value == 0
    return Claim(
        "scale", "The LoRA's influence is adjustable", "Spearman ρ of style and scale on [0, 1]",
        found.get("scale.rho_style"),
        f"lower bound above 0, scale 0 is the base bit for bit, merged and unmerged agree to {limit:g}",
        lambda e: e.above(0) and exact,
        "Style rises with the scale; scale 0 is the base bit for bit.",
        "Style does not surely rise with the scale, or the LoRA's arithmetic is off." if exact
        else "The LoRA's arithmetic is off: see the details.",
        gallery="scale", curve="scale",
        details=[
            ("Smallest step of the mean curve", _value(found, "scale.smallest_step")),
            ("Largest difference, scale 0 against the base", _value(found, "arithmetic.zero")),
            ("Largest difference, merged against unmerged", _value(found, "arithmetic.merged")),
            ("Largest difference, after unloading", _value(found, "arithmetic.unloaded")),
        ],
    )  # fmt: skip


def _combining(found: Findings, checks: dict[str, Any]) -> Claim:
    limit, shares = _exact(checks), " and ".join(f"{share:g}" for share in checks.get("shares", []))
    second = (
        "" if checks.get("second") else " A copy of it stood in: no second LoRA is set, so a second style has no score."
    )
    return Claim(
        "combining", "LoRAs combine", "Largest error of the sum", found.get("arithmetic.sum"),
        f"two adapters at {shares} equal the sum of their deltas to {limit:g}", lambda e: e.below(limit),
        f"Two adapters at {shares} predict what both deltas added to the weights predict.{second}",
        f"Two adapters at {shares} do not predict what the sum of their deltas predicts.{second}",
        gallery="combining" if checks.get("second") else None,
        missing="validate-sample left no checks",
        details=[("The LoRA's own mean effect, for comparison", _value(found, "arithmetic.effect"))],
    )  # fmt: skip


def _controlnet(found: Findings) -> Claim:
    return Claim(
        "controlnet", "ControlNet keeps identity", "Identity gained at equal style, strength 0.8",
        found.get("controlnet.identity_gain"), "lower bound above 0", lambda e: e.above(0),
        "With the ControlNet the person is kept better at the same amount of style.",
        "The ControlNet does not surely keep the person better.",
        clusters="sources", missing="no ControlNet is set (validate_sample.controlnet)",
    )  # fmt: skip


def _copying(found: Findings, settings: Evaluate) -> Claim:
    limit = settings.max_memorisation
    return Claim(
        "memorisation", "It does not copy training pictures", "Memorisation A", found.get("memorisation.lora"),
        f"upper bound below {limit:g} (evaluate.max_memorisation)", lambda e: e.below(limit),
        "Training pictures are no closer to the drawn ones than held-out pictures are; 0.5 is none.",
        "Drawn pictures may be closer to training pictures than to held-out ones: look at the nearest.",
        gallery="nearest",
        details=[
            ("A of the base, which never saw them", _value(found, "memorisation.base")),
            ("Bits to the nearest training picture's hash, of 64", _value(found, "copies.nearest_bits")),
            ("Share that looks alike by hash", _value(found, "copies.share")),
        ],
    )  # fmt: skip


def _drift(found: Findings, settings: Evaluate) -> Claim:
    limit = settings.max_drift
    return Claim(
        "drift", "Other prompts do not drift", "Drift, (1 − cosine)/2", found.get("drift"),
        f"upper bound below {limit:g} (evaluate.max_drift)", lambda e: e.below(limit),
        "Prompts without the concept look nearly as they did before.",
        "Prompts without the concept are changed as well: a lower LoRA scale or shorter training keeps more.",
        gallery="drift",
        details=[("The same on the concept's own prompts", _value(found, "drift.on_concept"))],
    )  # fmt: skip


def _diversity(found: Findings, settings: Evaluate) -> Claim:
    sharp = found.get("sharpness.against_holdout")
    least, crisp = settings.min_diversity, settings.min_sharpness
    return Claim(
        "diversity", "Pictures stay diverse and sharp", "Diversity against the base", found.get("diversity.ratio"),
        f"lower bounds: diversity at least {least:g} of the base's, sharpness at least {crisp:g} of held-out pictures'",
        lambda e: e.above(least) and sharp is not None and sharp.above(crisp),
        "Pictures differ as much as before and are as sharp as the style's own.",
        "Pictures are more alike than the base's, or blurrier than the style's own: see the details.",
        gallery="features",
        details=[
            ("Mean pairwise 1 − cosine", _arms(found, "diversity")),
            ("Sharpness against held-out pictures", _value(found, "sharpness.against_holdout")),
            ("Sharpness against the base", _value(found, "sharpness.against_base")),
            ("Clipped pixels", _arms(found, "clipped")),
        ],
    )  # fmt: skip

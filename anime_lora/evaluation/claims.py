"""The write-up's claims, each with its verdict, the rule behind it and the number it rests on."""

from typing import Any

from anime_lora.config.evaluate import Evaluate
from anime_lora.evaluation import adapter_claims as adapter
from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.report.wording import number, percent, value
from anime_lora.evaluation.verdict import Claim


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
        adapter.scale(found, checks), adapter.combining(found, checks), adapter.controlnet(found),
        adapter.copying(found, settings), adapter.drift(found, settings), adapter.diversity(found, settings),
    ]  # fmt: skip
    return [claim.judged(changed is None or changed.value > 0) for claim in claims]


def _style(found: Findings) -> Claim:
    moved = found.get("style")
    share = percent(moved.value if moved else None)
    return Claim(
        "style", "The model learned the style", "Style S", moved, "lower bound above 0", lambda e: e.above(0),
        f"Images moved {share} of the way from the base to the held-out style images.",
        f"S is {value(found, 'style')}: not surely closer to the held-out style images than the base is.",
        gallery="base-lora",
        missing="the base is already as close to the style as its images are to each other, or no encoder was loaded",
        details=[
            ("CMMD, unbiased, LoRA", f"{value(found, 'cmmd.lora')} (base {value(found, 'cmmd.base')})"),
            ("CMMD, how far it fell", value(found, "cmmd.fall")),
            ("Seen as the style's domain", f"{value(found, 'domain.lora')} (base {value(found, 'domain.base')}, "
                                           f"held-out images {value(found, 'domain.ceiling')})"),
        ],
    )  # fmt: skip


def _trigger(found: Findings) -> Claim:
    consistency = (f"{cell} {value(found, f'trigger.consistency.{cell}')}" for cell in ("B0", "BT", "L0", "LT"))
    return Claim(
        "trigger", "The trigger word makes the style consistent", "Interaction, in S", found.get("trigger.interaction"),
        "lower bound above 0", lambda e: e.above(0),
        "The trigger adds more style with the LoRA than without it: the word is bound to the style.",
        "The trigger adds no more style with the LoRA than without it: every training caption held it, so the LoRA "
        "shows its style either way.",
        gallery="trigger",
        details=[
            ("Trigger gain with the LoRA", value(found, "trigger.gain_with_lora")),
            ("Trigger gain of the base", value(found, "trigger.gain_of_base")),
            ("LoRA gain with the trigger", value(found, "trigger.lora_gain")),
            ("Consistency (mean pairwise cosine)", "; ".join(consistency)),
            ("Consistency gained by the trigger", value(found, "trigger.consistency_gain")),
        ],
    )  # fmt: skip


def _features(found: Findings) -> Claim:
    guess = found.get("features.chance")
    limit = guess.value if guess else 1.0
    ceiling = value(found, "features.ceiling")
    return Claim(
        "features", "Features follow the prompt", "Attribute accuracy", found.get("features.accuracy"),
        "lower bound above chance", lambda e: e.above(limit),
        f"{value(found, 'features.accuracy')} of what prompts ask for is seen; guessing gives {number(limit)}, "
        f"the classifier itself reaches {ceiling} on held-out images.",
        f"What is seen ({value(found, 'features.accuracy')}) is not surely better than guessing ({number(limit)}).",
        gallery="features",
        details=[
            ("Base on the same prompts", value(found, "features.base")),
            ("LoRA minus base", value(found, "features.change")),
            ("Hair colour by hue alone", f"{value(found, 'hair.lora')} (base {value(found, 'hair.base')}, "
                                         f"held-out images {value(found, 'hair.ceiling')})"),
        ],
    )  # fmt: skip


def _strength(found: Findings) -> Claim:
    falling = found.get("strength.rho_identity")

    def at(strength: str) -> str:
        return ", ".join(
            f"{name} {value(found, f'strength.at_{strength}.{key}')}"
            for name, key in (("style S", "style"), ("identity", "identity"), ("attributes kept", "agreement"))
        )

    return Claim(
        "strength", "Strength trades identity for style", "Spearman ρ of style and strength",
        found.get("strength.rho_style"), "ρ of style above 0 and ρ of identity below 0, whole intervals",
        lambda e: e.above(0) and falling is not None and falling.below(0),
        "The higher the strength, the more style and the less of the person.",
        "Style does not surely rise, or identity does not surely fall, with strength.",
        clusters="sources", gallery="strength", curve="strength",
        missing="there are no source images (validate_sample.sources), or no encoder was loaded",
        details=[
            ("Spearman ρ of identity and strength", value(found, "strength.rho_identity")),
            ("At 0.65", at("0.65")),
            ("At 0.8", at("0.8")),
            ("Style gained from 0.65 to 0.8", value(found, "strength.style_rise")),
            ("Style at equal identity, LoRA minus base", value(found, "strength.style_at_equal_identity")),
            ("Cosine to the true counterpart at 0.65", value(found, "strength.at_0.65.truth")),
            ("The same, LoRA minus base", value(found, "strength.truth_gain")),
            ("Nearer its own true counterpart than a random one at 0.65 (chance 0.5)",
             value(found, "strength.at_0.65.nearer")),
            ("Its own is the nearest of all", value(found, "strength.at_0.65.found")),
        ],
    )  # fmt: skip


def _guidance(found: Findings) -> Claim:
    return Claim(
        "guidance", "Guidance changes the result", "Faithfulness gained, 7.5 against the least",
        found.get("guidance.faithfulness_gain"), "interval leaves out 0", lambda e: e.above(0) or e.below(0),
        "Guidance changes how close images are to their prompt.",
        "The images are not surely closer to their prompt at guidance 7.5 than at the least guidance.",
        gallery="guidance", curve="guidance",
        details=[("Spearman ρ of faithfulness and guidance", value(found, "guidance.rho_faithfulness"))],
    )  # fmt: skip


def _styles(found: Findings) -> Claim:
    return Claim(
        "styles", "Style words change the result", "Pull of the word (cosine gained)", found.get("styles.gain"),
        "lower bound above 0", lambda e: e.above(0),
        "With a style word the image is closer to that word than without it, on the same noise.",
        "A style word does not surely pull the image its way.",
        clusters="prompts x styles", gallery="styles",
        missing="no style words are set (validate_sample.styles), or no encoder with a text side was loaded",
        details=[
            ("Closest to its own word among the words", value(found, "styles.nearest_is_own")),
            ("Change by the word, (1 − cosine)/2", value(found, "styles.change")),
        ],
    )  # fmt: skip

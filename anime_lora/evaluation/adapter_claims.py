"""Claims about the adapter itself: scale, combining, ControlNet, copying, drift, diversity."""

from typing import Any

from anime_lora.config.evaluate import Evaluate
from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.report.wording import arms, value
from anime_lora.evaluation.verdict import Claim

EXACT = {"torch.float32": 1e-4}
"""Largest error of merging and adding in fp32; half precision gets `ROUGH`."""
ROUGH = 3e-2


def _exact(checks: dict[str, Any]) -> float:
    return EXACT.get(str(checks.get("dtype")), ROUGH)


def scale(found: Findings, checks: dict[str, Any]) -> Claim:
    """More scale, more style; and the arithmetic behind it is exact."""
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
            ("Smallest step of the mean curve", value(found, "scale.smallest_step")),
            ("Largest difference, scale 0 against the base", value(found, "arithmetic.zero")),
            ("Largest difference, merged against unmerged", value(found, "arithmetic.merged")),
            ("Largest difference, after unloading", value(found, "arithmetic.unloaded")),
        ],
    )  # fmt: skip


def combining(found: Findings, checks: dict[str, Any]) -> Claim:
    """Both styles stay above the base with both LoRAs on."""
    limit, shares = _exact(checks), " and ".join(f"{share:g}" for share in checks.get("shares", []))
    error = found.get("arithmetic.sum")
    adds = error is not None and error.below(limit)
    return Claim(
        "combining", "LoRAs combine", "Style gained beside the other, weaker of both", found.get("combining.weaker"),
        "lower bound above 0 (the base, and the other LoRA alone) for both styles, and two adapters at "
        f"{shares} equal the sum of their deltas to {limit:g}",
        lambda e: e.above(0) and adds,
        "With both LoRAs on, both styles stay above the base and above the other LoRA alone; their effects add up.",
        "With both LoRAs on, one of the styles is not surely above what the other LoRA alone gives." if adds
        else "Two adapters do not predict what the sum of their deltas predicts.",
        gallery="combining",
        missing="there is no second LoRA with a style of its own (validate_sample.second_adapter)",
        details=[
            ("This LoRA's style, both on (1: alone)", value(found, "combining.first")),
            ("The second's style, both on (1: alone)", value(found, "combining.second")),
            ("Both styles' scores minus the base's", f"{value(found, 'combining.first_gain')}; "
                                                                 f"{value(found, 'combining.second_gain')}"),
            ("Largest error of the sum of deltas", value(found, "arithmetic.sum")),
            ("The LoRA's own mean effect, for comparison", value(found, "arithmetic.effect")),
        ],
    )  # fmt: skip


def controlnet(found: Findings) -> Claim:
    """The person is kept better at the same amount of style."""
    return Claim(
        "controlnet", "ControlNet keeps identity", "Identity gained at equal style, strength 0.8",
        found.get("controlnet.identity_gain"), "lower bound above 0", lambda e: e.above(0),
        "With the ControlNet the person is kept better at the same amount of style.",
        "The ControlNet does not surely keep the person better.",
        clusters="sources", gallery="strength",
        missing="no ControlNet is set (validate_sample.controlnet)" if found.get("controlnet.style_change") is None
        else "no strength without the ControlNet reaches the style that it generates",
        details=[
            ("Identity at strength 0.8, with minus without", value(found, "controlnet.identity_change")),
            ("Style S at strength 0.8, with minus without", value(found, "controlnet.style_change")),
        ],
    )  # fmt: skip


def copying(found: Findings, settings: Evaluate) -> Claim:
    """Generated images are no nearer to training images than held-out ones are."""
    limit = settings.max_memorisation
    return Claim(
        "memorisation", "It does not copy training images", "Memorisation A", found.get("memorisation.lora"),
        f"upper bound below {limit:g} (evaluate.max_memorisation)", lambda e: e.below(limit),
        "Generated images are no nearer to training images than new images of the style are.",
        "Generated images may be nearer to training images than new ones of the style would be: look at the nearest.",
        gallery="nearest",
        details=[
            ("A of the base, which never saw them", value(found, "memorisation.base")),
            ("Bits to the nearest training image's hash, of 64", value(found, "copies.nearest_bits")),
            ("Share that looks alike by hash", value(found, "copies.share")),
        ],
    )  # fmt: skip


def drift(found: Findings, settings: Evaluate) -> Claim:
    """Prompts without the concept stay as they were."""
    limit = settings.max_drift
    return Claim(
        "drift", "Other prompts do not drift", "Drift, (1 − cosine)/2", found.get("drift"),
        f"upper bound below {limit:g} (evaluate.max_drift)", lambda e: e.below(limit),
        "Prompts without the concept look nearly as they did before.",
        "Prompts without the concept are changed as well: a lower LoRA scale or shorter training keeps more.",
        gallery="drift",
        details=[("The same on the concept's own prompts", value(found, "drift.on_concept"))],
    )  # fmt: skip


def diversity(found: Findings, settings: Evaluate) -> Claim:
    """Images differ as the base's do and are as sharp as the style's own."""
    sharp = found.get("sharpness.against_holdout")
    least, crisp = settings.min_diversity, settings.min_sharpness
    return Claim(
        "diversity", "Images stay diverse and sharp", "Diversity against the base", found.get("diversity.ratio"),
        f"lower bounds: diversity at least {least:g} of the base's, sharpness at least {crisp:g} of held-out images'",
        lambda e: e.above(least) and sharp is not None and sharp.above(crisp),
        "Images differ as much as before and are as sharp as the style's own.",
        "Images are more alike than the base's, or blurrier than the style's own: see the details.",
        gallery="features",
        details=[
            ("Mean pairwise 1 − cosine", arms(found, "diversity")),
            ("Sharpness against held-out images", value(found, "sharpness.against_holdout")),
            ("Sharpness against the originals at their native size", value(found, "sharpness.against_native")),
            ("Sharpness against the base", value(found, "sharpness.against_base")),
            ("Clipped pixels", arms(found, "clipped")),
        ],
    )  # fmt: skip

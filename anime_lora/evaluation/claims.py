"""The write-up's claims, each with its verdict, the rule behind it and the number it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from anime_lora.config.evaluate import Evaluate
from anime_lora.evaluation.metrics.img2img import StrengthPoint
from anime_lora.evaluation.metrics.quality import ClippedMetrics, DiversityMetrics
from anime_lora.evaluation.metrics.results import Measurements
from anime_lora.evaluation.metrics.style import Cells
from anime_lora.evaluation.report.wording import NONE, number, percent
from anime_lora.evaluation.report.wording import with_interval as text
from anime_lora.evaluation.statistics import Estimate, is_above, is_below
from anime_lora.sampling.results import AdapterChecks

Verdict = Literal["shown", "not shown", "not measurable here"]
EXACT = {"torch.float32": 1e-4}
"""Largest error of merging and adding in fp32; half precision gets `ROUGH`."""
ROUGH = 3e-2


@dataclass(frozen=True)
class Detail:
    """One more number behind a claim."""

    label: str
    text: str


@dataclass(frozen=True)
class Claim:
    """One row of claims.json. A claim that was not measured has neither value nor interval."""

    id: str
    claim: str
    verdict: Verdict
    metric: str
    rule: str
    reason: str
    """One sentence: why this verdict."""
    value: float | None = None
    text: str = NONE
    interval: tuple[float, float] | None = None
    n: int | None = None
    """Clusters that the interval resamples."""
    clusters: str | None = None
    """What they are."""
    images: int | None = None
    gallery: str | None = None
    curve: str | None = None
    details: tuple[Detail, ...] = ()


def decide_claims(measured: Measurements, checks: AdapterChecks, settings: Evaluate) -> list[Claim]:
    """Every claim in the write-up's order; `settings` has the limits that count as shown."""
    claims = [
        _style(measured), _trigger(measured), _features(measured), _strength(measured), _guidance(measured),
        _style_words(measured), _scale(measured, checks), _combining(measured, checks), _controlnet(measured),
        _memorisation(measured, settings), _drift(measured, settings), _diversity(measured, settings),
    ]  # fmt: skip
    if measured.changed is None or measured.changed.value > 0:
        return claims
    nothing = "The LoRA changes nothing: its images are the base's."
    return [claim if claim.value is None else replace(claim, verdict="not shown", reason=nothing) for claim in claims]


def _claim(
    name: str,
    claim: str,
    metric: str,
    estimate: Estimate | None,
    *,
    rule: str,
    holds: bool,
    yes: str,
    no: str,
    missing: str | None,
    clusters: str = "prompts",
    gallery: str,
    curve: str | None = None,
    details: Sequence[tuple[str, str]] = (),
) -> Claim:
    """A claim whose verdict is `holds` where its estimate has an interval; `yes` and `no` are the two sentences.

    `missing` says why there is no estimate; None: it has no interval.
    """
    row = Claim(
        name, claim, "not measurable here", metric, rule,
        f"Not measured: {missing or f'an interval needs at least two {clusters}'}.",
        gallery=gallery, curve=curve, details=tuple(Detail(*pair) for pair in details),
    )  # fmt: skip
    if estimate is None or estimate.interval is None:
        return row
    return replace(
        row,
        verdict="shown" if holds else "not shown",
        reason=yes if holds else no,
        value=estimate.value,
        text=number(estimate.value),
        interval=estimate.interval,
        n=estimate.n,
        clusters=clusters,
        images=estimate.images,
    )


def _style(measured: Measurements) -> Claim:
    style, domain = measured.style, measured.domain
    share = percent(style.score.value if style.score else None)
    no_room = None if style.score else "the base is already as close to the style as its images are to each other"
    return _claim(
        "style", "The model learned the style", "Style S", style.score,
        rule="lower bound above 0", holds=is_above(style.score, 0),
        yes=f"Images moved {share} of the way from the base to the held-out style images.",
        no=f"S is {text(style.score)}: not surely closer to the held-out style images than the base is.",
        gallery="base-lora", missing=style.missing or no_room,
        details=[
            ("CMMD, unbiased, LoRA", f"{text(style.cmmd_lora)} (base {text(style.cmmd_base)})"),
            ("CMMD, how far it fell", text(style.cmmd_fall)),
            ("Seen as the style's domain", f"{text(domain.lora)} (base {text(domain.base)}, "
                                           f"held-out images {text(domain.ceiling)})"),
        ],
    )  # fmt: skip


def _trigger(measured: Measurements) -> Claim:
    trigger = measured.trigger
    return _claim(
        "trigger", "The trigger word makes the style consistent", "Interaction, in S", trigger.interaction,
        rule="lower bound above 0", holds=is_above(trigger.interaction, 0),
        yes="The trigger adds more style with the LoRA than without it: the word is bound to the style.",
        no="The trigger does not surely add more style with the LoRA than without it: class images trained on beside "
        "(train.prior_images) bind it.",
        gallery="trigger", missing=trigger.missing,
        details=[
            ("Trigger gain with the LoRA", text(trigger.gain_with_lora)),
            ("Trigger gain of the base", text(trigger.gain_of_base)),
            ("LoRA gain with the trigger", text(trigger.lora_gain)),
            ("Consistency (mean pairwise cosine)", _cells(trigger.consistency)),
            ("Consistency gained by the trigger", text(trigger.consistency_gain)),
        ],
    )  # fmt: skip


def _cells(cells: Cells) -> str:
    """B: base, L: LoRA; 0: without the trigger, T: with it."""
    return (
        f"B0 {text(cells.base_plain)}; BT {text(cells.base_trigger)}; "
        f"L0 {text(cells.lora_plain)}; LT {text(cells.lora_trigger)}"
    )


def _features(measured: Measurements) -> Claim:
    features, hair = measured.features, measured.hair
    guessing = features.chance.value if features.chance else 1.0
    return _claim(
        "features", "Features follow the prompt", "Attribute accuracy", features.accuracy,
        rule="lower bound above chance", holds=is_above(features.accuracy, guessing),
        yes=f"{text(features.accuracy)} of what prompts ask for is seen; guessing gives {number(guessing)}, "
        f"the classifier itself reaches {text(features.ceiling)} on held-out images.",
        no=f"What is seen ({text(features.accuracy)}) is not surely better than guessing ({number(guessing)}).",
        gallery="features", missing=features.missing,
        details=[
            ("Base on the same prompts", text(features.base)),
            ("LoRA minus base", text(features.change)),
            ("Hair colour by hue alone", f"{text(hair.lora)} (base {text(hair.base)}, "
                                         f"held-out images {text(hair.ceiling)})"),
        ],
    )  # fmt: skip


def _strength(measured: Measurements) -> Claim:
    strength = measured.strength
    keeping = strength.keeping
    return _claim(
        "strength", "Strength trades identity for style", "Spearman ρ of style and strength", strength.rho_style,
        rule="ρ of style above 0 and ρ of identity below 0, whole intervals",
        holds=is_above(strength.rho_style, 0) and is_below(strength.rho_identity, 0),
        yes="The higher the strength, the more style and the less of the person.",
        no="Style does not surely rise, or identity does not surely fall, with strength.",
        clusters="sources", gallery="strength", curve="strength", missing=strength.missing,
        details=[
            ("Spearman ρ of identity and strength", text(strength.rho_identity)),
            ("At 0.65", _at(keeping)),
            ("At 0.8", _at(strength.restyling)),
            ("Style gained from 0.65 to 0.8", text(strength.style_rise)),
            ("Style at equal identity, LoRA minus base", text(strength.style_at_equal_identity)),
            ("Cosine to the true counterpart at 0.65", text(keeping.truth)),
            ("The same, LoRA minus base", text(strength.truth_gain)),
            ("Nearer its own true counterpart than a random one at 0.65 (chance 0.5)",
             text(keeping.nearer)),
            ("Its own is the nearest of all", text(keeping.retrieved)),
        ],
    )  # fmt: skip


def _at(point: StrengthPoint) -> str:
    return f"style S {text(point.style)}, identity {text(point.identity)}, attributes kept {text(point.agreement)}"


def _guidance(measured: Measurements) -> Claim:
    gain = measured.guidance.faithfulness_gain
    return _claim(
        "guidance", "Guidance changes the result", "Faithfulness gained, 7.5 against the least", gain,
        rule="interval leaves out 0", holds=is_above(gain, 0) or is_below(gain, 0),
        yes="Guidance changes how close images are to their prompt.",
        no="The images are not surely closer to their prompt at guidance 7.5 than at the least guidance.",
        gallery="guidance", curve="guidance", missing=measured.guidance.missing,
        details=[("Spearman ρ of faithfulness and guidance", text(measured.guidance.rho_faithfulness))],
    )  # fmt: skip


def _style_words(measured: Measurements) -> Claim:
    words = measured.style_words
    return _claim(
        "styles", "Style words change the result", "Pull of the word (cosine gained)", words.gain,
        rule="lower bound above 0", holds=is_above(words.gain, 0),
        yes="With a style word the image is closer to that word than without it, on the same noise.",
        no="A style word does not surely pull the image its way.",
        clusters="prompts x styles", gallery="styles", missing=words.missing,
        details=[
            ("Closest to its own word among the words", text(words.nearest_is_own)),
            ("Change by the word, (1 − cosine)/2", text(words.change)),
        ],
    )  # fmt: skip


def _scale(measured: Measurements, checks: AdapterChecks) -> Claim:
    """More scale, more style; and the arithmetic behind it is exact."""
    scale, arithmetic, limit = measured.scale, measured.arithmetic, EXACT.get(checks.dtype, ROUGH)
    merged, zero = arithmetic.merged, arithmetic.zero
    exact = merged is not None and merged.value < limit and zero is not None and zero.value == 0
    return _claim(
        "scale", "The LoRA's influence is adjustable", "Spearman ρ of style and scale on [0, 1]", scale.rho_style,
        rule=f"lower bound above 0, scale 0 is the base bit for bit, merged and unmerged agree to {limit:g}",
        holds=is_above(scale.rho_style, 0) and exact,
        yes="Style rises with the scale; scale 0 is the base bit for bit.",
        no="Style does not surely rise with the scale, or the LoRA's arithmetic is off." if exact
        else "The LoRA's arithmetic is off: see the details.",
        gallery="scale", curve="scale", missing=scale.missing,
        details=[
            ("Smallest step of the mean curve", text(scale.smallest_step)),
            ("Largest difference, scale 0 against the base", text(zero)),
            ("Largest difference, merged against unmerged", text(merged)),
            ("Largest difference, after unloading", text(arithmetic.unloaded)),
        ],
    )  # fmt: skip


def _combining(measured: Measurements, checks: AdapterChecks) -> Claim:
    """Both styles stay above the base with both LoRAs on."""
    combining, arithmetic, limit = measured.combining, measured.arithmetic, EXACT.get(checks.dtype, ROUGH)
    shares, adds = " and ".join(f"{share:g}" for share in checks.shares), is_below(arithmetic.sum, limit)
    return _claim(
        "combining", "LoRAs combine", "Style gained beside the other, weaker of both", combining.weaker,
        rule="lower bound above 0 (the base, and the other LoRA alone) for both styles, and two adapters at "
        f"{shares} equal the sum of their deltas to {limit:g}",
        holds=is_above(combining.weaker, 0) and adds,
        yes="With both LoRAs on, both styles stay above the base and above the other LoRA alone; their effects add up.",
        no="With both LoRAs on, one of the styles is not surely above what the other LoRA alone gives." if adds
        else "Two adapters do not predict what the sum of their deltas predicts.",
        gallery="combining", missing=combining.missing,
        details=[
            ("This LoRA's style, both on (1: alone)", text(combining.first)),
            ("The second's style, both on (1: alone)", text(combining.second)),
            ("Both styles' scores minus the base's", f"{text(combining.first_gain)}; {text(combining.second_gain)}"),
            ("Largest error of the sum of deltas", text(arithmetic.sum)),
            ("The LoRA's own mean effect, for comparison", text(arithmetic.effect)),
        ],
    )  # fmt: skip


def _controlnet(measured: Measurements) -> Claim:
    """The person is kept better at the same amount of style."""
    control = measured.controlnet
    apart = None if control.identity_gain else (
        "no strength without the ControlNet reaches the style that it generates"
    )  # fmt: skip
    return _claim(
        "controlnet", "ControlNet keeps identity", "Identity gained at equal style, strength 0.8",
        control.identity_gain, rule="lower bound above 0", holds=is_above(control.identity_gain, 0),
        yes="With the ControlNet the person is kept better at the same amount of style.",
        no="The ControlNet does not surely keep the person better.",
        clusters="sources", gallery="strength", missing=control.missing or apart,
        details=[
            ("Identity at strength 0.8, with minus without", text(control.identity_change)),
            ("Style S at strength 0.8, with minus without", text(control.style_change)),
        ],
    )  # fmt: skip


def _memorisation(measured: Measurements, settings: Evaluate) -> Claim:
    """Generated images are no nearer to training images than held-out ones are."""
    memorisation, limit = measured.memorisation, settings.max_memorisation
    return _claim(
        "memorisation", "It does not copy training images", "Memorisation A", memorisation.lora,
        rule=f"upper bound below {limit:g} (evaluate.max_memorisation)", holds=is_below(memorisation.lora, limit),
        yes="Generated images are no nearer to training images than new images of the style are.",
        no="Generated images may be nearer to training images than new ones of the style would be: look at the "
        "nearest.",
        gallery="nearest", missing=memorisation.missing,
        details=[
            ("A of the base, which never saw them", text(memorisation.base)),
            ("Bits to the nearest training image's hash, of 64", text(measured.copies.nearest_bits)),
            ("Share that looks alike by hash", text(measured.copies.share)),
        ],
    )  # fmt: skip


def _drift(measured: Measurements, settings: Evaluate) -> Claim:
    """Prompts without the concept stay as they were."""
    drift, limit = measured.drift, settings.max_drift
    return _claim(
        "drift", "Other prompts do not drift", "Drift, (1 − cosine)/2", drift.unrelated,
        rule=f"upper bound below {limit:g} (evaluate.max_drift)", holds=is_below(drift.unrelated, limit),
        yes="Prompts without the concept look nearly as they did before.",
        no="Prompts without the concept are changed as well: a lower LoRA scale or shorter training keeps more.",
        gallery="drift", missing=drift.missing,
        details=[("The same on the concept's own prompts", text(drift.on_concept))],
    )  # fmt: skip


def _diversity(measured: Measurements, settings: Evaluate) -> Claim:
    """Images differ as the base's do and are as sharp as the style's own."""
    diversity, sharp = measured.diversity, measured.sharpness
    least, crisp = settings.min_diversity, settings.min_sharpness
    return _claim(
        "diversity", "Images stay diverse and sharp", "Diversity against the base", diversity.ratio,
        rule=f"lower bounds: diversity at least {least:g} of the base's, sharpness at least {crisp:g} of held-out "
        "images'",
        holds=is_above(diversity.ratio, least) and is_above(sharp.against_holdout, crisp),
        yes="Images differ as much as before and are as sharp as the style's own.",
        no="Images are more alike than the base's, or blurrier than the style's own: see the details.",
        gallery="features", missing=diversity.missing,
        details=[
            ("Mean pairwise 1 − cosine", _arms(diversity)),
            ("Sharpness against held-out images", text(sharp.against_holdout)),
            ("Sharpness against the originals at their native size", text(sharp.against_native)),
            ("Sharpness against the base", text(sharp.against_base)),
            ("Clipped pixels", _arms(measured.clipped)),
        ],
    )  # fmt: skip


def _arms(metrics: DiversityMetrics | ClippedMetrics) -> str:
    return f"LoRA {text(metrics.lora)}, base {text(metrics.base)}, held-out images {text(metrics.holdout)}"

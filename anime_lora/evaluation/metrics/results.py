"""All that is measured, as one value: each kind of metric with named fields, and why one is missing."""

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from anime_lora.config.evaluate import Evaluate
from anime_lora.evaluation.encoders import NO_TEXT, Encoder, Skipped
from anime_lora.evaluation.image_sets import ImageSets
from anime_lora.evaluation.metrics.combining import CombiningMetrics, measure_combining
from anime_lora.evaluation.metrics.img2img import (
    NO_SOURCES,
    ControlNetMetrics,
    StrengthMetrics,
    StructurePoint,
    measure_strength,
    measure_structure,
)
from anime_lora.evaluation.metrics.prompt import FeatureMetrics, HairMetrics, measure_features, measure_hair
from anime_lora.evaluation.metrics.quality import (
    ClippedMetrics,
    CopyMetrics,
    DiversityMetrics,
    DriftMetrics,
    MemorisationMetrics,
    SharpnessMetrics,
    measure_copies,
    measure_diversity,
    measure_drift,
    measure_memorisation,
    measure_sharpness,
)
from anime_lora.evaluation.metrics.style import (
    DomainMetrics,
    StyleMetrics,
    TriggerMetrics,
    measure_domain,
    measure_style,
    measure_trigger,
)
from anime_lora.evaluation.metrics.sweeps import (
    GuidanceMetrics,
    ScaleMetrics,
    StyleWordMetrics,
    measure_guidance,
    measure_scale,
    measure_style_words,
)
from anime_lora.evaluation.statistics import Estimate, exact
from anime_lora.sampling.results import AdapterChecks, GeneratedSuite

Numbers: TypeAlias = "dict[str, Numbers | float | None]"
"""Estimates as JSON values, by the names of the fields that lead to them."""
ENOUGH = 2
"""Held-out and training images below which nothing can be said about the style."""
NO_ENCODER = "no encoder that could measure it was loaded (evaluate.encoders)"
TOO_FEW = "fewer than 2 held-out images (organize.holdout_share)"


@dataclass(frozen=True)
class EncoderMetrics:
    """What every encoder of images measures, whether it reads text or not."""

    style: StyleMetrics
    trigger: TriggerMetrics
    diversity: DiversityMetrics
    drift: DriftMetrics
    memorisation: MemorisationMetrics
    scale: ScaleMetrics
    guidance: GuidanceMetrics
    combining: CombiningMetrics


@dataclass(frozen=True)
class ArithmeticMetrics:
    """validate-sample's checks of the LoRA's arithmetic: largest errors, and its own mean `effect` to compare with."""

    zero: Estimate | None = None
    merged: Estimate | None = None
    sum: Estimate | None = None
    unloaded: Estimate | None = None
    effect: Estimate | None = None


@dataclass(frozen=True)
class Measurements:
    """Everything that was measured; the claims rest on the encoder that `claims_encoder` names."""

    sharpness: SharpnessMetrics
    clipped: ClippedMetrics
    copies: CopyMetrics
    hair: HairMetrics
    arithmetic: ArithmeticMetrics
    changed: Estimate | None
    """Share of the concept's images that differ at all between base and LoRA."""
    structure: tuple[StructurePoint, ...]
    style: StyleMetrics
    domain: DomainMetrics
    trigger: TriggerMetrics
    features: FeatureMetrics
    strength: StrengthMetrics
    controlnet: ControlNetMetrics
    guidance: GuidanceMetrics
    style_words: StyleWordMetrics
    scale: ScaleMetrics
    combining: CombiningMetrics
    memorisation: MemorisationMetrics
    drift: DriftMetrics
    diversity: DiversityMetrics
    encoders: dict[str, EncoderMetrics] = field(default_factory=dict)
    """What the other encoders measure."""

    def missing(self) -> list[Skipped]:
        """The metrics that were not measured at all, by the reason why."""
        names: dict[str, list[str]] = {}
        for one in fields(self):
            reason = getattr(getattr(self, one.name), "missing", None)
            if reason is not None:
                names.setdefault(reason, []).append(one.name.replace("_", " "))
        return [Skipped(", ".join(group), reason) for reason, group in names.items()]


def claims_encoder(encoders: list[Encoder]) -> Encoder | None:
    """The encoder whose numbers the claims rest on: the first with a text side, else the first."""
    return next((one for one in encoders if one.reads_text), encoders[0] if encoders else None)


def measure(
    images: ImageSets, encoders: list[Encoder], checks: AdapterChecks, suite: GeneratedSuite, settings: Evaluate
) -> Measurements:
    """Everything that can be measured here; what cannot says why."""
    encoder, few = claims_encoder(encoders), min(len(images.holdout.table), len(images.train.table)) < ENOUGH
    result = _without_encoder(images, checks, NO_ENCODER if encoder is None else TOO_FEW)
    if encoder is None or few:
        return result
    first, others = measure_with(images, encoder), [one for one in encoders if one is not encoder]
    result = replace(
        result,
        style=first.style,
        trigger=first.trigger,
        diversity=first.diversity,
        drift=first.drift,
        memorisation=first.memorisation,
        scale=first.scale,
        guidance=first.guidance,
        combining=first.combining,
        encoders={one.name: measure_with(images, one) for one in others},
    )
    strength, controlnet = StrengthMetrics(missing=NO_SOURCES), ControlNetMetrics(missing=NO_SOURCES)
    if len(images.sources.table):
        strength, controlnet = measure_strength(images, encoder, settings.attributes)
    result = replace(result, strength=strength, controlnet=controlnet)
    if not encoder.reads_text:
        none = (DomainMetrics(missing=NO_TEXT), FeatureMetrics(missing=NO_TEXT), StyleWordMetrics(missing=NO_TEXT))
        return replace(result, domain=none[0], features=none[1], style_words=none[2])
    return replace(
        result,
        domain=measure_domain(images, encoder, settings.domains, settings.style_domain),
        features=measure_features(images, encoder, settings.attributes),
        style_words=measure_style_words(images, encoder, suite.params.styles),
    )


def measure_with(images: ImageSets, encoder: Encoder) -> EncoderMetrics:
    """What `encoder` measures of the images alone."""
    return EncoderMetrics(
        style=measure_style(images, encoder),
        trigger=measure_trigger(images, encoder),
        diversity=measure_diversity(images, encoder),
        drift=measure_drift(images, encoder),
        memorisation=measure_memorisation(images, encoder),
        scale=measure_scale(images, encoder),
        guidance=measure_guidance(images, encoder),
        combining=measure_combining(images, encoder),
    )


def _without_encoder(images: ImageSets, checks: AdapterChecks, missing: str) -> Measurements:
    """What needs no encoder; all the rest is missing for the reason given."""
    sharpness, clipped = measure_sharpness(images)
    return Measurements(
        sharpness=sharpness,
        clipped=clipped,
        copies=measure_copies(images),
        hair=measure_hair(images),
        arithmetic=_arithmetic(images, checks),
        changed=_changed(images),
        structure=measure_structure(images),
        style=StyleMetrics(missing=missing),
        domain=DomainMetrics(missing=missing),
        trigger=TriggerMetrics(missing=missing),
        features=FeatureMetrics(missing=missing),
        strength=StrengthMetrics(missing=missing),
        controlnet=ControlNetMetrics(missing=missing),
        guidance=GuidanceMetrics(missing=missing),
        style_words=StyleWordMetrics(missing=missing),
        scale=ScaleMetrics(missing=missing),
        combining=CombiningMetrics(missing=missing),
        memorisation=MemorisationMetrics(missing=missing),
        drift=DriftMetrics(missing=missing),
        diversity=DiversityMetrics(missing=missing),
    )


def _arithmetic(images: ImageSets, checks: AdapterChecks) -> ArithmeticMetrics:
    """The checks with intervals over prompts."""
    if not checks.prompts:
        return ArithmeticMetrics()
    resample = images.resample(checks.prompts, "arithmetic")
    errors = (checks.zero, checks.merged, checks.sum, checks.unloaded, checks.effect)
    return ArithmeticMetrics(*(resample.mean(np.array(one)) for one in errors))


def _changed(images: ImageSets) -> Estimate:
    units, hashes = images.trigger_units(), images.generated.table["sha256"].to_numpy()
    differ = hashes[units.base_trigger] != hashes[units.lora_trigger]
    return replace(exact(float(differ.mean()), len(units)), images=2 * len(units))


def estimates(metrics: Any) -> Numbers:
    """Every estimate by the names of the fields that lead to it, as JSON values; what is missing is left out.

    Args:
        metrics: `Measurements`, or any dataclass of metrics.
    """
    values: Numbers = {}
    for one in fields(metrics):
        value = getattr(metrics, one.name)
        if isinstance(value, Estimate):
            values[one.name] = asdict(value)
        elif isinstance(value, dict):
            values[one.name] = {name: estimates(part) for name, part in value.items()}
        elif is_dataclass(value):
            values[one.name] = estimates(value)
    return {name: value for name, value in values.items() if value}

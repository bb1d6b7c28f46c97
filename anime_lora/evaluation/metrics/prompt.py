"""Do features follow the prompt: zero-shot accuracy per attribute, its ceiling, and hair colour by hue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import ImageSet, ImageSets
from anime_lora.evaluation.metrics.pixels import HUES, hair_colour
from anime_lora.evaluation.statistics import Estimate, Floats, PairedUnits, Resample, exact

Attributes = Mapping[str, Mapping[str, str]]
"""By attribute, each of its values and the text an encoder is asked with."""
Labels = Mapping[str, str]
"""By attribute, the value that a prompt or caption names; attributes it does not name are left out."""
HAIR_COLOURS = {*HUES, "brown", "black", "white"}
NOTHING_ASKED = "no prompt asks for an attribute (evaluate.attributes)"


@dataclass(frozen=True)
class Confusion:
    """Counts of asked (rows) against seen (columns) values of one attribute, and what guessing would reach."""

    rows: list[str]
    columns: list[str]
    counts: list[list[int]]
    chance: float


@dataclass(frozen=True)
class AttributeMetrics:
    """One attribute, over the images whose prompt asks for it; `ceiling` is the accuracy on held-out images."""

    accuracy: Estimate | None
    ceiling: Estimate | None
    confusion: Confusion


@dataclass(frozen=True)
class FeatureMetrics:
    """Share of the attributes asked for that are seen as asked: LoRA, base, guessing, and held-out images."""

    accuracy: Estimate | None = None
    base: Estimate | None = None
    change: Estimate | None = None
    chance: Estimate | None = None
    ceiling: Estimate | None = None
    attributes: dict[str, AttributeMetrics] = field(default_factory=dict)
    units: PairedUnits | None = None
    missing: str | None = None


@dataclass(frozen=True)
class HairMetrics:
    """Share of hair colours that are as asked by hue alone; the ceiling on held-out images says how far to trust it."""

    base: Estimate | None = None
    lora: Estimate | None = None
    ceiling: Estimate | None = None


@dataclass(frozen=True)
class Classes:
    """Zero-shot classes of n images: by attribute, one value per image."""

    values: dict[str, list[str]]

    def correct(self, labels: Sequence[Labels]) -> Floats:
        """Share of the asked attributes that are seen as asked, per image; NaN where none is asked, (n,)."""
        shares = []
        for row, asked_values in enumerate(labels):
            hits = [self.values[name][row] == value for name, value in asked_values.items()]
            shares.append(float(np.mean(hits)) if hits else np.nan)
        return np.array(shares)


def measure_features(images: ImageSets, encoder: Encoder, attributes: Attributes) -> FeatureMetrics:
    """Accuracy of LoRA and base against what the prompts ask for, chance, ceiling, and a confusion per attribute."""
    units = images.trigger_units()
    labels = [asked(text, attributes) for text in units.prompts]
    if not any(labels):
        return FeatureMetrics(missing=NOTHING_ASKED)
    resample, vectors = images.resample(units.prompts, "features"), images.generated.vectors[encoder.name]
    of_lora = classify(vectors[units.lora_trigger], encoder, attributes)
    lora, base = (
        classes.correct(labels) for classes in (of_lora, classify(vectors[units.base_trigger], encoder, attributes))
    )
    captions = [asked(str(text or ""), attributes) for text in images.holdout.table["caption"]]
    of_holdout = classify(images.holdout.vectors[encoder.name], encoder, attributes)
    names = [name for name in attributes if any(name in one for one in labels)]
    known = [{name: value for name, value in one.items() if name in names} for one in captions]
    return FeatureMetrics(
        accuracy=resample.mean(lora),
        base=resample.mean(base),
        change=resample.mean(lora - base, 2 * len(units)),
        chance=exact(chance(labels, attributes), len(labels)),
        ceiling=exact(float(np.nanmean(of_holdout.correct(known))), len(known)) if any(known) else None,
        attributes={
            name: AttributeMetrics(
                _accuracy(of_lora, labels, name, resample),
                _ceiling(of_holdout, captions, name),
                confusion(of_lora, labels, name, attributes),
            )
            for name in names
        },
        units=PairedUnits(units.prompts, units.names, lora=lora.tolist()),
    )


def asked(text: str, attributes: Attributes) -> dict[str, str]:
    """The attribute values named in a prompt or caption, each between commas or as its last words.

    "myStyle face girl, blue hair" asks for gender girl and hair colour blue hair.
    """
    parts = [f" {' '.join(part.lower().split())}" for part in text.split(",")]
    values_asked: dict[str, str] = {}
    for name, values in attributes.items():
        named = [value for value in values if any(part.endswith(f" {value.lower()}") for part in parts)]
        if named:
            values_asked[name] = max(named, key=len)
    return values_asked


def classify(vectors: Floats, encoder: Encoder, attributes: Attributes) -> Classes:
    """For each attribute, the value whose text is closest to each image."""
    values = {}
    for name, texts in attributes.items():
        likeness = vectors @ encoder.texts(list(texts.values())).T
        values[name] = [list(texts)[index] for index in likeness.argmax(1)]
    return Classes(values)


def chance(labels: Sequence[Labels], attributes: Attributes) -> float:
    """Accuracy of guessing among the values of the attributes asked for, averaged as `Classes.correct` is."""
    per_image = [np.mean([1 / len(attributes[name]) for name in one]) for one in labels if one]
    return float(np.mean(per_image)) if per_image else float("nan")


def _accuracy(classes: Classes, labels: Sequence[Labels], name: str, resample: Resample) -> Estimate | None:
    """Share of the images whose prompt asks for the attribute `name` that show it as asked."""
    only = [{name: one[name]} if name in one else {} for one in labels]
    return resample.mean(classes.correct(only), sum(map(bool, only)))


def _ceiling(classes: Classes, captions: Sequence[Labels], name: str) -> Estimate | None:
    """The same share of the held-out images whose caption names the attribute."""
    hits = [classes.values[name][row] == one[name] for row, one in enumerate(captions) if name in one]
    return exact(float(np.mean(hits)), len(hits)) if hits else None


def confusion(classes: Classes, labels: Sequence[Labels], name: str, attributes: Attributes) -> Confusion:
    """What is seen of the attribute `name`, by what is asked for."""
    columns = list(attributes[name])
    pairs = [(one[name], classes.values[name][row]) for row, one in enumerate(labels) if name in one]
    rows = [value for value in columns if any(value == one for one, _ in pairs)]
    counts = [[pairs.count((row, column)) for column in columns] for row in rows]
    return Confusion(rows, columns, counts, 1 / len(columns))


def measure_hair(images: ImageSets) -> HairMetrics:
    """Hair colour by hue alone, which needs no weights; a part is None where no colour is asked for."""
    units = images.trigger_units()
    resample = images.resample(units.prompts, "hair")
    colours = [_colour(text) for text in units.prompts]
    base, lora = (
        _hue_hits(images, images.generated, rows.tolist(), colours) for rows in (units.base_trigger, units.lora_trigger)
    )
    captions = [_colour(str(text or "")) for text in images.holdout.table["caption"]]
    hits = _hue_hits(images, images.holdout, list(range(len(captions))), captions)
    known = int(np.isfinite(hits).sum())
    return HairMetrics(
        base=resample.mean(base, int(np.isfinite(base).sum())),
        lora=resample.mean(lora, int(np.isfinite(lora).sum())),
        ceiling=exact(float(np.nanmean(hits)), known) if known else None,
    )


def _colour(text: str) -> str | None:
    """The hair colour a prompt or caption names: "girl, blue hair" -> blue."""
    words = [part.split() for part in text.lower().split(",")]
    return next((w[-2] for w in words if len(w) > 1 and w[-1] == "hair" and w[-2] in HAIR_COLOURS), None)


def _hue_hits(images: ImageSets, part: ImageSet, rows: Sequence[int], colours: Sequence[str | None]) -> Floats:
    """1 where the hue is as asked, 0 where not, NaN where no colour is asked, (n,)."""
    pairs = zip(colours, part.open(rows, images.size), strict=True)
    return np.array([np.nan if name is None else float(hair_colour(image) == name) for name, image in pairs])

"""Attributes: what a prompt asks for, what an encoder sees, and how often the two agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.statistics import Floats

Attributes = Mapping[str, Mapping[str, str]]


def asked(text: str, attributes: Attributes) -> dict[str, str]:
    """The attribute values named in a prompt or caption, each between commas or as its last words.

    "myStyle face girl, blue hair" asks for gender girl and hair colour blue hair.
    """
    parts = [f" {' '.join(part.lower().split())}" for part in text.split(",")]
    found: dict[str, str] = {}
    for name, values in attributes.items():
        named = [value for value in values if any(part.endswith(f" {value.lower()}") for part in parts)]
        if named:
            found[name] = max(named, key=len)
    return found


@dataclass(frozen=True)
class Seen:
    """Zero-shot classes of n images, one list per attribute."""

    values: dict[str, list[str]]

    def correct(self, wanted: Sequence[Mapping[str, str]]) -> Floats:
        """Share of the asked attributes that are seen as asked, per image; NaN where none is asked, (n,)."""
        shares = []
        for row, labels in enumerate(wanted):
            hits = [self.values[name][row] == value for name, value in labels.items()]
            shares.append(float(np.mean(hits)) if hits else np.nan)
        return np.array(shares)


def classify(images: Floats, encoder: Encoder, attributes: Attributes) -> Seen:
    """For each attribute, the value whose text is closest to each image."""
    values = {}
    for name, texts in attributes.items():
        likeness = images @ encoder.texts(list(texts.values())).T
        values[name] = [list(texts)[index] for index in likeness.argmax(1)]
    return Seen(values)


def chance(wanted: Sequence[Mapping[str, str]], attributes: Attributes) -> float:
    """Accuracy of guessing among the values of the attributes asked for, averaged as `Seen.correct` is."""
    per_image = [np.mean([1 / len(attributes[name]) for name in labels]) for labels in wanted if labels]
    return float(np.mean(per_image)) if per_image else float("nan")


def confusion(
    wanted: Sequence[str], seen: Sequence[str], rows: Sequence[str], columns: Sequence[str]
) -> list[list[int]]:
    """Counts of asked (rows) against seen (columns)."""
    counts = [[0] * len(columns) for _ in rows]
    for one, other in zip(wanted, seen, strict=True):
        counts[list(rows).index(one)][list(columns).index(other)] += 1
    return counts

"""Do features follow the prompt: zero-shot accuracy per attribute, its ceiling, and hair colour by hue."""

from collections.abc import Sequence

import numpy as np

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album, ImageSet
from anime_lora.evaluation.metrics.labels import Attributes, Seen, asked, chance, classify, confusion
from anime_lora.evaluation.metrics.pixels import HUES, hair_colour
from anime_lora.evaluation.metrics.results import Findings, unit_values
from anime_lora.evaluation.metrics.style import trigger_units, unit_names
from anime_lora.evaluation.statistics import Estimate, Floats, Resample

Labels = list[dict[str, str]]
NAMED = {*HUES, "brown", "black", "white"}


def features(album: Album, encoder: Encoder, attributes: Attributes) -> Findings:
    """Accuracy of LoRA and base against what the prompts ask for, chance, ceiling, and a confusion per attribute."""
    units, found = trigger_units(album), Findings()
    resample = album.over(units, "features")
    wanted = [asked(str(text), attributes) for text in units.index.get_level_values(0)]
    generated = album.generated.vectors[encoder.name]
    seen = {cell: classify(generated[units[cell]], encoder, attributes) for cell in ("BT", "LT")}
    right = {cell: found_values.correct(wanted) for cell, found_values in seen.items()}
    if not any(wanted):
        return found
    found.numbers["features.accuracy"] = resample.mean(right["LT"])
    found.numbers["features.base"] = resample.mean(right["BT"])
    found.numbers["features.change"] = resample.mean(right["LT"] - right["BT"], 2 * len(units))
    found.numbers["features.chance"] = _exact(chance(wanted, attributes), len(wanted))
    held = [asked(str(text or ""), attributes) for text in album.holdout.table["caption"]]
    real = classify(album.holdout.vectors[encoder.name], encoder, attributes)
    kept = {name for labels in wanted for name in labels}
    known = [{name: value for name, value in labels.items() if name in kept} for labels in held]
    if any(known):
        found.numbers["features.ceiling"] = _exact(float(np.nanmean(real.correct(known))), len(known))
    for name in attributes:
        if any(name in labels for labels in wanted):
            found.add(_attribute(name, attributes, wanted, (seen["LT"], real, held), resample))
    found.units["features"] = unit_values(*unit_names(units), lora=right["LT"])
    return found


def _exact(value: float, count: int) -> Estimate:
    return Estimate(value, None, None, count, count)


def _attribute(
    name: str, attributes: Attributes, wanted: Labels, looks: tuple[Seen, Seen, Labels], resample: Resample
) -> Findings:
    """Accuracy, ceiling and confusion of one attribute over the images whose prompt asks for it."""
    seen, real, held = looks
    found, slug = Findings(), name.replace(" ", "_")
    only = [{name: labels[name]} if name in labels else {} for labels in wanted]
    estimate = resample.mean(seen.correct(only), sum(map(bool, only)))
    known = [row for row, labels in enumerate(held) if name in labels]
    ceiling = float(np.mean([real.values[name][row] == held[row][name] for row in known])) if known else None
    found.numbers[f"features.{slug}"] = estimate
    if ceiling is not None:
        found.numbers[f"features.{slug}.ceiling"] = _exact(ceiling, len(known))
    rows = [row for row, labels in enumerate(only) if labels]
    asked_values, seen_values = [wanted[row][name] for row in rows], [seen.values[name][row] for row in rows]
    values = list(attributes[name])
    shown = [value for value in values if value in asked_values]
    found.confusions.append(
        {
            "id": name.replace(" ", "-"), "title": name, "rows": shown, "columns": values,
            "counts": confusion(asked_values, seen_values, shown, values), "accuracy": estimate.value,
            "interval": None if estimate.low is None else [estimate.low, estimate.high],
            "ceiling": ceiling, "chance": 1 / len(values),
        }
    )  # fmt: skip
    return found


def hair(album: Album) -> Findings:
    """Hair colour told from hue alone: no weights. Its ceiling on held-out images says how far to trust it."""
    units, found = trigger_units(album), Findings()
    resample = album.over(units, "hair")
    wanted = [_colour(str(text)) for text in units.index.get_level_values(0)]
    for arm, cell in (("base", "BT"), ("lora", "LT")):
        right = _right(album, album.generated, units[cell].tolist(), wanted)
        if np.isfinite(right).any():
            found.numbers[f"hair.{arm}"] = resample.mean(right, int(np.isfinite(right).sum()))
    held = [_colour(str(text or "")) for text in album.holdout.table["caption"]]
    right = _right(album, album.holdout, list(range(len(held))), held)
    if np.isfinite(right).any():
        found.numbers["hair.ceiling"] = _exact(float(np.nanmean(right)), int(np.isfinite(right).sum()))
    return found


def _colour(text: str) -> str | None:
    """The hair colour a prompt or caption names: "girl, blue hair" -> blue."""
    words = [part.split() for part in text.lower().split(",")]
    return next((w[-2] for w in words if len(w) > 1 and w[-1] == "hair" and w[-2] in NAMED), None)


def _right(album: Album, images: ImageSet, rows: Sequence[int], wanted: Sequence[str | None]) -> Floats:
    """1 where the hue is as asked, 0 where not, NaN where no colour is asked."""
    pairs = zip(wanted, images.open(rows, album.size), strict=True)
    return np.array([np.nan if name is None else float(hair_colour(image) == name) for name, image in pairs])

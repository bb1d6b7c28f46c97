"""Is the style learned, and does the trigger word call it: measures on the 2×2 of LoRA and trigger."""

from collections.abc import Mapping

import pandas as pd

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics.results import Findings, unit_values
from anime_lora.evaluation.metrics.similarity import between, cmmd, own_score, style_score
from anime_lora.evaluation.statistics import Estimate, Floats

CELLS = {"base-plain": "B0", "base-trigger": "BT", "lora-plain": "L0", "lora-trigger": "LT"}


def trigger_units(album: Album) -> pd.DataFrame:
    """The 2×2 by (prompt, seed): columns B0, BT, L0, LT hold rows of `album.generated`."""
    return album.paired("trigger", "arm").rename(columns=CELLS)


def unit_names(units: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Cluster and name of each unit, for `findings.unit_values`."""
    return [str(key[0]) for key in units.index], [" | ".join(map(str, key)) for key in units.index]


def style(album: Album, encoder: Encoder) -> Findings:
    """Style S of the LoRA against the base on the same prompts and noise, and the CMMD of both."""
    units, found = trigger_units(album), Findings()
    held, generated = album.holdout.vectors[encoder.name], album.generated.vectors[encoder.name]
    resample, own = album.over(units, "style"), own_score(held)
    base, lora = (style_score(generated[units[cell]], held) for cell in ("BT", "LT"))
    found.numbers["style"] = resample.estimate(lambda w: _moved(w, lora, base, own), 2 * len(units))
    found.numbers["style.base_score"] = resample.mean(base)
    found.numbers["style.lora_score"] = resample.mean(lora)
    found.numbers["style.own_score"] = Estimate(own, None, None, len(held), len(held))
    vectors = [generated[units[cell]] for cell in ("BT", "LT")]
    found.numbers["cmmd.base"] = resample.estimate(lambda w: cmmd(w, vectors[0], held))
    found.numbers["cmmd.lora"] = resample.estimate(lambda w: cmmd(w, vectors[1], held))
    found.numbers["cmmd.fall"] = resample.estimate(lambda w: cmmd(w, vectors[0], held) - cmmd(w, vectors[1], held))
    found.units["style"] = unit_values(*unit_names(units), base=base, lora=lora) | {"own": own}
    return found


def _moved(weights: Floats, lora: Floats, base: Floats, own: float) -> Floats:
    total = weights.sum(1)
    return between(weights @ lora / total, weights @ base / total, own)


def scale_of_style(album: Album, encoder: Encoder) -> Floats:
    """S of every generated image, (n,): 0 at the base's mean on the concept's prompts, 1 at the style's own."""
    held, generated = album.holdout.vectors[encoder.name], album.generated.vectors[encoder.name]
    scores = style_score(generated, held)
    return between(scores, scores[trigger_units(album)["BT"]].mean(), own_score(held))


def domain(album: Album, encoder: Encoder, texts: Mapping[str, str], wanted: str) -> Findings:
    """Share of images that the encoder takes for the style's domain, base and LoRA; and of held-out images."""
    units, found, names = trigger_units(album), Findings(), list(texts)
    words = encoder.texts(list(texts.values()))
    resample = album.over(units, "domain")
    seen = (album.generated.vectors[encoder.name] @ words.T).argmax(1) == names.index(wanted)
    real = (album.holdout.vectors[encoder.name] @ words.T).argmax(1) == names.index(wanted)
    for arm, cell in (("base", "BT"), ("lora", "LT")):
        found.numbers[f"domain.{arm}"] = resample.mean(seen[units[cell]].astype(float))
    found.numbers["domain.ceiling"] = Estimate(float(real.mean()), None, None, len(real), len(real))
    return found


def trigger(album: Album, encoder: Encoder) -> Findings:
    """Trigger gain, LoRA gain, their interaction in units of S, and the consistency within each cell."""
    units, found = trigger_units(album), Findings()
    resample, generated = album.over(units, "trigger"), album.generated.vectors[encoder.name]
    moved = scale_of_style(album, encoder)
    s = {cell: moved[units[cell]] for cell in CELLS.values()}
    effects = {
        "interaction": (s["LT"] - s["L0"]) - (s["BT"] - s["B0"]),
        "gain_with_lora": s["LT"] - s["L0"],
        "gain_of_base": s["BT"] - s["B0"],
        "lora_gain": s["LT"] - s["BT"],
    }
    for name, values in effects.items():
        found.numbers[f"trigger.{name}"] = resample.mean(values, 4 * len(units))
    kernels = {cell: generated[units[cell]] @ generated[units[cell]].T for cell in CELLS.values()}
    for cell, kernel in kernels.items():
        found.numbers[f"trigger.style.{cell}"] = resample.mean(s[cell])
        found.numbers[f"trigger.consistency.{cell}"] = resample.pairwise(kernel)
    found.numbers["trigger.consistency_gain"] = resample.pairwise(kernels["LT"] - kernels["L0"])
    return found

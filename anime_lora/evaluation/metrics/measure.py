"""All measures in turn: those that need an encoder, those that need none, and what is skipped for want of one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from anime_lora.config.evaluate import Evaluate
from anime_lora.evaluation.encoders import Encoder, Skipped
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics import combining, img2img, prompt, quality, style, sweeps
from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.statistics import Estimate

Measure = Callable[[], Findings]
ENOUGH = 2
"""Held-out images below which nothing can be said about the style."""


def judging(encoders: list[Encoder]) -> Encoder | None:
    """The encoder that judges the claims: the first with a text side, else the first."""
    return next((one for one in encoders if one.reads_text), encoders[0] if encoders else None)


def measure(
    album: Album, encoders: list[Encoder], checks: dict[str, Any], suite: dict[str, Any], settings: Evaluate
) -> Findings:
    """Everything that can be measured here; the rest is named in `skipped`."""
    found = Findings()
    for one in (quality.crispness, quality.hashes, prompt.hair, img2img.structure):
        found.add(one(album))
    found.add(arithmetic(album, checks))
    found.add(changes(album))
    judge = judging(encoders)
    if judge is None:
        found.skipped.append(
            Skipped("style, trigger, features, strength, sweeps, drift, copying", "no encoder is loaded")
        )
        return found
    if len(album.holdout.table) < ENOUGH or len(album.train.table) < ENOUGH:
        found.skipped.append(Skipped("style and copying", "fewer than 2 held-out images (organize.holdout_share)"))
        return found
    for encoder in encoders:
        others = _image_side(album, encoder)
        if encoder is judge:
            found.add(others)
        else:
            found.numbers |= {f"encoders.{encoder.name}.{name}": value for name, value in others.numbers.items()}
    found.add(_text_side(album, judge, suite, settings))
    return found


def _image_side(album: Album, encoder: Encoder) -> Findings:
    """What every encoder measures."""
    found = Findings()
    measures = (
        style.style,
        style.trigger,
        quality.diversity,
        quality.drift,
        quality.copying,
        sweeps.scale,
        sweeps.guidance,
        combining.combining,
    )
    for one in measures:
        found.add(one(album, encoder))
    return found


def _text_side(album: Album, encoder: Encoder, suite: dict[str, Any], settings: Evaluate) -> Findings:
    """What only the judging encoder measures."""
    found = Findings()
    if len(album.sources.table):
        found.add(img2img.strength(album, encoder, settings.attributes))
    else:
        found.skipped.append(Skipped("strength", "there are no source images (validate_sample.sources)"))
    if not encoder.reads_text:
        found.skipped.append(Skipped("features, style words, domain", f"encoder {encoder.name} has no text side"))
        return found
    found.add(prompt.features(album, encoder, settings.attributes))
    found.add(style.domain(album, encoder, settings.domains, settings.style_domain))
    found.add(sweeps.styles(album, encoder, suite["params"]["styles"]))
    return found


def arithmetic(album: Album, checks: dict[str, Any]) -> Findings:
    """validate-sample's checks of the LoRA's arithmetic, with intervals over prompts."""
    found = Findings()
    if checks.get("prompts"):
        resample = album.resample(checks["prompts"], "arithmetic")
        for name in ("zero", "merged", "sum", "unloaded", "effect"):
            found.numbers[f"arithmetic.{name}"] = resample.mean(np.array(checks[name]))
    return found


def changes(album: Album) -> Findings:
    """Share of the concept's images that differ at all between base and LoRA."""
    units = style.trigger_units(album)
    hashes = album.generated.table["sha256"].to_numpy()
    differ = hashes[units["BT"]] != hashes[units["LT"]]
    return Findings({"changes": Estimate(float(differ.mean()), None, None, len(units), 2 * len(units))})

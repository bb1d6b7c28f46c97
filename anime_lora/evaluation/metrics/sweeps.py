"""One thing changed at a time: guidance, LoRA scale, style words."""

from collections.abc import Mapping

import numpy as np

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics.pixels import clipped
from anime_lora.evaluation.metrics.results import Findings, columns
from anime_lora.evaluation.metrics.similarity import spearman
from anime_lora.evaluation.metrics.style import scale_of_style
from anime_lora.evaluation.statistics import Floats


def guidance(album: Album, encoder: Encoder) -> Findings:
    """Prompt faithfulness (cosine of image and prompt), style, clipped pixels and diversity by guidance."""
    found, units = Findings(), album.paired("guidance", "guidance")
    resample, generated = album.over(units, "guidance"), album.generated.vectors[encoder.name]
    style = scale_of_style(album, encoder)
    texts = encoder.texts([str(text) for text in units.index.get_level_values(0)]) if encoder.reads_text else None
    faithful = {}
    for value in units.columns:
        rows = units[value].to_numpy()
        faithful[value] = (generated[rows] * texts).sum(1) if texts is not None else np.full(len(rows), np.nan)
        pixels = np.array([clipped(one) for one in album.generated.open(rows, album.size)])
        row = columns(
            faithfulness=resample.mean(faithful[value]),
            style=resample.mean(style[rows]),
            clipped=resample.mean(pixels),
            diversity=resample.pairwise(1 - generated[rows] @ generated[rows].T),
        )
        found.curves.setdefault("guidance", []).append({"guidance": float(value), **row, "n": resample.clusters})
    if texts is not None:
        rho = spearman(np.array(units.columns, float), np.stack([faithful[value] for value in units.columns], 1))
        found.numbers["guidance.rho_faithfulness"] = resample.mean(rho, units.size)
        least, usual = units.columns[0], min(units.columns, key=lambda value: abs(float(value) - 7.5))
        found.numbers["guidance.faithfulness_gain"] = resample.mean(faithful[usual] - faithful[least], 2 * len(units))
    return found


def scale(album: Album, encoder: Encoder) -> Findings:
    """Style by LoRA scale, and whether it rises with every step on [0, 1]."""
    found, units = Findings(), album.paired("scale", "lora_scale")
    resample, style = album.over(units, "scale"), scale_of_style(album, encoder)
    for value in units.columns:
        row = columns(style=resample.mean(style[units[value].to_numpy()]))
        found.curves.setdefault("scale", []).append({"scale": float(value), **row, "n": resample.clusters})
    inside = [value for value in units.columns if 0 <= float(value) <= 1]
    if len(inside) > 1:
        values = style[units[inside].to_numpy()]
        found.numbers["scale.rho_style"] = resample.mean(spearman(np.array(inside, float), values), values.size)
        means = resample.estimate(lambda w: _steepest_fall(w, values), values.size)
        found.numbers["scale.smallest_step"] = means
    return found


def _steepest_fall(weights: Floats, values: Floats) -> Floats:
    """The smallest step of the mean curve from one scale to the next: above 0 it rises all the way."""
    means = weights @ values / weights.sum(1, keepdims=True)
    smallest: Floats = np.diff(means, axis=1).min(1)
    return smallest


def styles(album: Album, encoder: Encoder, words: Mapping[str, str]) -> Findings:
    """Does a style word pull the image its way: cosine to the word, with it minus without it, same noise."""
    found = Findings()
    table = album.generated.table[album.generated.table["gallery"] == "styles"].reset_index(names="row")
    if not len(table) or not encoder.reads_text:
        return found
    generated, texts = album.generated.vectors[encoder.name], encoder.texts(list(words.values()))
    plain = table[table["style"].isna()].set_index(["cluster", "guidance"])["row"]
    worded = table[table["style"].notna()].reset_index(drop=True)
    own = [list(words).index(name) for name in worded["style"]]
    before = generated[[plain[key] for key in zip(worded["cluster"], worded["guidance"], strict=True)]]
    likeness = generated[worded["row"]] @ texts.T
    gain = (likeness - before @ texts.T)[np.arange(len(own)), own]
    resample = album.resample(list(zip(worded["cluster"], worded["style"], strict=True)), "styles")
    found.numbers["styles.gain"] = resample.mean(gain, len(gain) + len(plain))
    found.numbers["styles.nearest_is_own"] = resample.mean((likeness.argmax(1) == own).astype(float))
    change = (1 - (generated[worded["row"]] * before).sum(1)) / 2
    found.numbers["styles.change"] = resample.mean(change)
    found.curves["styles"] = [
        {
            "style": style,
            "guidance": at,
            "gain": float(gain[(worded["style"] == style) & (worded["guidance"] == at)].mean()),
        }
        for style in words
        for at in dict.fromkeys(worded["guidance"])
    ]
    return found

"""The report's images, curves and tables: which there are, and what is written beside them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.report.plots import series
from anime_lora.evaluation.report.wording import cell
from anime_lora.images import read_size

GALLERIES = {
    "base-lora": ("Base beside LoRA", "Same prompts, same noise: the upper row without the LoRA, the lower with it."),
    "people": ("People", "A photo-like source, and what base and LoRA make of it with the same prompt and noise."),
    "features": ("Features", "What the prompt asks for, generated with the LoRA; one row per seed."),
    "trigger": ("Trigger 2×2", "LoRA off and on, trigger word left out and given, on the same noise."),
    "strength": ("Human to anime", "A photo-like source through img2img by strength with the LoRA, with the ControlNet "
                 "where one is set, the same character as it is in the style, and the base."),
    "scale": ("LoRA scale", "From the base (0) to the LoRA (1) and beyond, on the same noise."),
    "styles": ("Style words × guidance", "The LoRA with a style word in the prompt, by guidance."),
    "guidance": ("Guidance", "The same prompt and noise by classifier-free guidance."),
    "combining": ("Two LoRAs", "Base, this LoRA, a second one (validate_sample.second_adapter), and both; same noise."),
    "drift": ("Unrelated prompts", "Prompts without trigger and class: the closer the rows, the less was disturbed."),
    "nearest": ("Nearest training images", "The generated images most like a training image, that image, and the "
                "nearest held-out one; above, both cosines."),
    "epochs": ("Epoch by epoch", "The validation prompt on the same noise, from the base (epoch 0) on."),
}  # fmt: skip


def galleries(samples: Path, own: Path, beside: Path) -> list[dict[str, Any]]:
    """Every gallery that has sheets, as `content` describes it.

    Args:
        samples: grids of validate-sample.
        own: grids of evaluate, as they lie now.
        beside: where the report will lie; paths are relative to it.
    """
    shown = []
    for name, (title, caption) in GALLERIES.items():
        found = [*_sheets(samples, name), *_sheets(own, name)]
        if found:
            images = [_image(file, title, _relative(file, own, beside)) for file in found]
            shown.append({"id": name, "title": title, "caption": caption, "pictures": images})
    return shown


def _sheets(folder: Path, name: str) -> Iterator[Path]:
    yield from sorted(
        file for file in folder.glob(f"{name}*.png") if file.stem == name or file.stem[len(name) + 1 :].isdigit()
    )


def _relative(file: Path, own: Path, beside: Path) -> str:
    return f"grids/{file.name}" if file.parent == own else Path(os.path.relpath(file, beside)).as_posix()


def _image(file: Path, title: str, shown: str) -> dict[str, Any]:
    width, height = read_size(file)
    preview = shown.removesuffix(".png") + ".webp" if file.with_suffix(".webp").is_file() else None
    page = f", page {file.stem.split('-')[-1]}" if file.stem[-1].isdigit() else ""
    return {"file": shown, "preview": preview, "label": title + page, "alt": f"Contact sheet: {title}{page}",
            "width": width, "height": height}  # fmt: skip


CURVES: dict[str, tuple[str, str, str, str]] = {
    "strength": ("Strength: identity against style", "img2img of the source images, intervals over sources.",
                 "strength", "score"),
    "scale": ("LoRA scale", "Style by the LoRA's scale: 0 is the base, 1 the LoRA as trained.", "scale", "style S"),
    "guidance": ("Guidance", "Cosine of image and prompt, style, diversity, and the share of clipped pixels.",
                 "guidance", "score"),
    "heldout": ("Held-out loss", "Denoising loss after each epoch, on held-out and on as many trained images.",
                "epoch", "loss"),
    "selection": ("Choosing the epoch", "Score of each epoch: the share of the base's style distance that is gone, "
                  "minus standard errors of the held-out loss above the lowest.", "epoch", "score"),
}  # fmt: skip
"""Title, caption, and what the axes show."""
LINES: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "strength": [
        ("style", "style S, LoRA", {"arm": "lora"}), ("identity", "identity, LoRA", {"arm": "lora"}),
        ("agreement", "attributes kept, LoRA", {"arm": "lora"}),
        ("style", "style S, base", {"arm": "base"}), ("identity", "identity, base", {"arm": "base"}),
    ],
    "scale": [("style", "style S", {})],
    "guidance": [("faithfulness", "prompt faithfulness", {}), ("style", "style S", {}), ("diversity", "diversity", {}),
                 ("clipped", "clipped pixels", {})],
    "heldout": [("heldout", "held out", {}), ("probe", "trained", {})],
    "selection": [("score", "selection score", {})],
}  # fmt: skip
"""Column, name and filter of each curve's lines."""
MARKS: dict[str, list[tuple[str, float, str]]] = {
    "strength": [("x", 0.65, "0.65"), ("x", 0.8, "0.8")],
    "scale": [("y", 0, "base"), ("y", 1, "the style's own")],
    "guidance": [("x", 7.5, "7.5")],
}
HEADS = {
    "strength": {"style": "style S", "identity": "identity", "agreement": "attributes kept",
                 "truth": "cosine to true counterpart", "nearer": "nearer it than a random one",
                 "found": "nearest of all"},
    "guidance": {"faithfulness": "faithfulness", "style": "style S", "diversity": "diversity", "clipped": "clipped"},
}  # fmt: skip
"""Columns of the tables."""


def curves(found: Findings, heldout: list[dict[str, float]], kept: int | None) -> list[dict[str, Any]]:
    """Every curve that has points, as `content` describes it; `kept` is the published epoch."""
    rows: dict[str, Any] = {**found.curves, "heldout": heldout, "selection": heldout}
    published: list[tuple[str, float, str]] = [] if kept is None else [("x", kept, "published")]
    marks: dict[str, list[tuple[str, float, str]]] = {
        **MARKS,
        "heldout": published,
        "selection": published,
    }
    shown = []
    for name, (title, caption, x, y) in CURVES.items():
        lines = [series(rows.get(name, []), x, column, label, **only) for column, label, only in LINES[name]]
        nonempty = [line for line in lines if line]
        if nonempty:
            shown.append(
                {
                    "id": name, "title": title, "caption": caption, "x_label": x, "y_label": y, "series": nonempty,
                    "marks": [{"axis": axis, "at": at, "label": label} for axis, at, label in marks[name]],
                    "csv": f"plots/{'heldout' if name == 'selection' else name}.csv",
                }
            )  # fmt: skip
    return shown


def tables(found: Findings) -> list[dict[str, Any]]:
    """Strength and guidance as tables with intervals."""
    return [_table(name, found.curves[name]) for name in HEADS if found.curves.get(name)]


def _table(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    heads = {key: label for key, label in HEADS[name].items() if any(row.get(key) is not None for row in rows)}
    arm = ["arm"] if "arm" in rows[0] else []
    body = [[f"{row[name]:g}", *(row[key] for key in arm), *(cell(row, key) for key in heads)] for row in rows]
    return {
        "id": name, "title": name.capitalize(), "caption": f"Mean and 95 % interval, n = {rows[0]['n']}.",
        "columns": [name, *arm, *heads.values()], "rows": body,
    }  # fmt: skip

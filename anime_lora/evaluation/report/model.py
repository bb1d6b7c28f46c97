"""What the report says, as one plain JSON-able dict: numbers and sentences, no markup.

`evaluate` saves it as `report.json` and hands it to `report.write_report`, which turns it into a page.
All paths are relative to the folder the report lies in. Numbers are floats (never NaN), intervals `[low, high]`
at 95 % or null, `n` counts the clusters an interval resamples (prompts or sources), `images` what was looked at.
Texts are plain text without markup; `id`s are unique within their list and fit an HTML anchor.

{
  "version": 1,
  "title":    "myAnimeStyleToken anime_face",
  "subtitle": "LoRA of rank 16 on data/base/pocket, 5 epochs, 215 images",
  "verdict": {
      "level": "good" | "mixed" | "bad",             # colour of the headline
      "headline": "The style was learned",            # <= 60 characters
      "sentences": ["...", ...]                       # 1 to 4, what a person should take away
  },
  "hero": image,                                    # base beside LoRA on the same seeds
  "key_numbers": [                                    # 4 to 6 cards
      {"id", "label": "Style S", "value": 0.71, "text": "0.71", "interval": [0.6, 0.8] | null, "n": 8 | null,
       "hint": "0 is the base, 1 is as close as real images are to each other"}, ...
  ],
  "claims": [                                         # one row per claim of the write-up, in its order
      {"id": "style", "claim": "The model learned the style",
       "verdict": "shown" | "not shown" | "not measurable here",
       "metric": "Style S", "value": 0.71 | null, "text": "0.71" | "–", "interval": [low, high] | null,
       "n": 8 | null, "clusters": "prompts" | "sources" | null, "pictures": 16 | null,
       "rule": "lower bound of S above 0",            # what would count as shown
       "reason": "...",                               # one sentence: why this verdict
       "gallery": "base-lora" | null, "curve": "strength" | null,   # ids below, to jump to
       "details": [{"label": "CMMD, unbiased", "text": "0.41 [0.33, 0.52], n = 16 and 24"}, ...]}, ...
  ],
  "galleries": [
      {"id": "base-lora", "title": "Base beside LoRA", "caption": "...", "pictures": [image, ...]}, ...
  ],
  "curves": [
      {"id": "strength", "title": "...", "caption": "...", "x_label": "strength", "y_label": "score",
       "series": [{"name": "style, LoRA", "points": [{"x": 0.3, "y": 0.12, "low": 0.1, "high": 0.2}, ...]}, ...],
       "marks": [{"axis": "x" | "y", "at": 0.65, "label": "mission: 0.65"}, ...],
       "csv": "plots/strength.csv"}, ...              # low and high may be null; 1 to 5 series
  ],
  "confusions": [
      {"id": "hair-colour", "title": "hair colour", "rows": ["blue hair", ...], "columns": [...],   # asked x seen
       "counts": [[7, 1], ...], "accuracy": 0.9, "interval": [low, high] | null, "ceiling": 0.97 | null, "chance": 0.1},
      ...
  ],
  "tables": [
      {"id": "guidance", "title": "...", "caption": "...", "columns": ["guidance", "style", ...],
       "rows": [["5", "0.62 [0.51, 0.70]", ...], ...]}, ...          # cells are text, ready to show
  ],
  "dataset": {                                        # the version trained on, against the champion's
      "sentence": "240 images, 240 with a caption. Since the champion's version of 230 images: 10 added, …",
      "changes": [{"change": "added", "picture": "0240.png", "before": "", "now": "girl, blue hair"}, ...],
      "more": 0,                                      # changes that are not listed
      "drift": [{"measure": "contrast", "psi": 0.03, "text": "stable"}, ...],
      "quantiles": [{"measure": "contrast", "text": "20 · 41 · 66"}, ...]},   # least, middle, greatest
  "skipped": [{"what": "DINOv2 similarity", "reason": "..."}, ...],   # shown as a quiet list
  "notes": ["...", ...],                              # how to read the page; definitions
  "lineage": [{"label": "Adapter", "value": "sha256 1f0c…"}, ...]
}

image = {"file": "../validate-sample/grids/base-lora.png",   # full size
           "preview": "../validate-sample/grids/base-lora.webp" | null,   # <= 300 KB; embed this one
           "label": "short title", "alt": "what is seen", "width": 1200, "height": 640}
"""

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import anime_lora
from anime_lora.evaluation.metrics.results import Findings
from anime_lora.evaluation.report.wording import number, percent
from anime_lora.evaluation.verdict import NOT_MEASURABLE, NOT_SHOWN, SHOWN
from anime_lora.files import sha256_file

HEADLINES = {
    SHOWN: "The style was learned",
    NOT_SHOWN: "The style was not learned",
    NOT_MEASURABLE: "The style could not be measured",
}
CARDS = (
    ("Style S", "style", "0 is the base, 1 is as close as real images are to each other", number),
    ("Seen as the style", "domain.lora", "share of images that the encoder takes for the style", percent),
    ("Attributes as asked", "features.accuracy", "share of what prompts ask for that is seen", percent),
    ("Identity at 0.65", "strength.at_0.65.identity", "cosine of img2img image and source", number),
    ("Memorisation A", "memorisation.lora", "0.5 is no copying, 1 is copies only", number),
)
NOTES = [
    "Every comparison is paired: same prompt, same noise, with and without the LoRA.",
    "Intervals are 95 % cluster bootstraps over prompts or sources, then seeds, widened for few clusters.",
    "Style S: mean cosine to held-out style images, 0 at the base, 1 at those images' own likeness.",
    "CMMD is the unbiased form (U-statistic, Gaussian kernel, bandwidth 10, times 1000): 0 on average for equal sets.",
    "Memorisation A: chance that a generated image is nearer to its nearest training image than a held-out one to its.",
    "The epoch was chosen on other noise than the images here are generated from.",
]


def content(
    found: Findings,
    claims: list[dict[str, Any]],
    exhibits: dict[str, list[dict[str, Any]]],
    record: dict[str, Any],
    lineage: dict[str, str],
) -> dict[str, Any]:
    """The report's dict.

    Args:
        found: all numbers.
        claims: rows of `claims.judge`.
        exhibits: galleries, curves and tables.
        record: training's record.json, with `concept`.
        lineage: label and value of what the numbers come from.
    """
    params, dataset, base = (record.get(name, {}) for name in ("params", "dataset", "base"))
    concept, images = record.get("concept", {}), exhibits["galleries"]
    traced = {**lineage, "Code": f"anime_lora {anime_lora.__version__}, evaluation {code()}", "Machine": machine()}
    return {
        "version": 1,
        "title": f"{concept.get('trigger', 'LoRA')} {concept.get('class_name', '')}".strip(),
        "subtitle": f"LoRA of rank {params.get('rank', '?')} on {base.get('model', 'the base')}, "
        f"epoch {record.get('epoch', '?')}, {dataset.get('train', '?')} images",
        "verdict": verdict(claims),
        "hero": images[0]["pictures"][0] if images else None,
        "key_numbers": [card for card in (_card(found, *entry) for entry in CARDS) if card],
        "claims": claims,
        **exhibits,
        "confusions": found.confusions,
        "skipped": [{"what": one.what, "reason": one.reason} for one in found.skipped],
        "notes": NOTES,
        "lineage": [{"label": label, "value": value} for label, value in traced.items()],
    }


def code() -> str:
    """Hash of evaluation's own files: what measured, whatever the version is called."""
    here = Path(__file__).parents[1]
    files = sorted(file for file in here.rglob("*") if file.suffix in {".py", ".html", ".css"})
    lines = "".join(f"{file.relative_to(here).as_posix()} {sha256_file(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def machine() -> str:
    """Kind of machine and the library that computed: what may change last digits. No name, no clock.

    The page is an output that DVC knows by its hash: the same inputs give the same bytes, so the time is not in it.
    """
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"


def verdict(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline: the style claim first, then how many claims stand."""
    style = next(claim for claim in claims if claim["id"] == "style")
    of = {kind: [claim for claim in claims if claim["verdict"] == kind] for kind in HEADLINES}
    counts = [f"{len(of[SHOWN])} of {len(claims)} claims are shown"]
    counts += [f"{len(of[kind])} {kind}" for kind in (NOT_SHOWN, NOT_MEASURABLE) if of[kind]]
    sentences = [style["reason"], f"{', '.join(counts)}."]
    level = "bad" if style["verdict"] == NOT_SHOWN else "mixed"
    if style["verdict"] == SHOWN and len(of[NOT_SHOWN]) <= 1:
        level = "good"
    return {"level": level, "headline": HEADLINES[style["verdict"]], "sentences": sentences}


def _card(found: Findings, label: str, name: str, hint: str, shown: Callable[[float], str]) -> dict[str, Any] | None:
    estimate = found.get(name)
    if estimate is None:
        return None
    interval = None if estimate.low is None else [estimate.low, estimate.high]
    return {
        "id": name.split(".", maxsplit=1)[0], "label": label, "value": estimate.value, "text": shown(estimate.value),
        "interval": interval, "n": estimate.n, "hint": hint,
    }  # fmt: skip

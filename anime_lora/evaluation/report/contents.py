"""What the page says beside figures and claims: headline, key numbers, the dataset's changes, where all comes from."""

import hashlib
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import anime_lora
from anime_lora.config.section import Concept
from anime_lora.data.dataset_diff import MUCH, VersionImage, compare, describe_drift, measures
from anime_lora.evaluation.claims import Claim, Verdict
from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.metrics.results import Measurements
from anime_lora.evaluation.promotion import Decision, suite_id
from anime_lora.evaluation.report.model import (
    Card,
    DatasetChange,
    DatasetSection,
    Headline,
    MeasureDrift,
    Origin,
    Quantiles,
)
from anime_lora.evaluation.report.training import TrainingRecord
from anime_lora.evaluation.report.wording import number, percent
from anime_lora.evaluation.statistics import Estimate
from anime_lora.files import sha256_file
from anime_lora.sampling.results import GeneratedSuite

HEADLINES: dict[Verdict, str] = {
    "shown": "The style was learned",
    "not shown": "The style was not learned",
    "not measurable here": "The style could not be measured",
}
NOTES = [
    "Every comparison is paired: same prompt, same noise, with and without the LoRA.",
    "Intervals are 95 % cluster bootstraps over prompts or sources, then seeds, widened for few clusters.",
    "Style S: mean cosine to held-out style images, 0 at the base, 1 at those images' own likeness.",
    "CMMD is the unbiased form (U-statistic, Gaussian kernel, bandwidth 10, times 1000): 0 on average for equal sets.",
    "Memorisation A: chance that a generated image is nearer to its nearest training image than a held-out one to its.",
    "The epoch was chosen on other noise than the images here are generated from.",
]
PARAMS = ("rank", "alpha", "target", "epochs", "learning_rate")
"""Training params named in the report's lineage."""
LISTED = 20
"""Changed images that the page lists; the rest is counted."""


def title(concept: Concept) -> str:
    """Trigger and class."""
    return f"{concept.trigger} {concept.class_name}"


def subtitle(record: TrainingRecord) -> str:
    """What was trained on what."""
    return (
        f"LoRA of rank {record.params.get('rank', '?')} on {_or(record.base.model, 'the base')}, "
        f"epoch {_or(record.epoch)}, {_or(record.dataset.train)} images"
    )


def _or(value: object, unknown: str = "?") -> str:
    return unknown if value is None else str(value)


def headline(claims: list[Claim]) -> Headline:
    """The style claim first, then how many claims stand."""
    style = next(claim for claim in claims if claim.id == "style")
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in HEADLINES}
    parts = [f"{counts['shown']} of {len(claims)} claims are shown"]
    parts += [f"{count} {verdict}" for verdict, count in counts.items() if count and verdict != "shown"]
    good = style.verdict == "shown" and counts["not shown"] <= 1
    return Headline(
        "good" if good else "bad" if style.verdict == "not shown" else "mixed",
        HEADLINES[style.verdict],
        [style.reason, f"{', '.join(parts)}."],
    )


def cards(measured: Measurements) -> list[Card]:
    """The key numbers that were measured."""
    listed = [
        _card("style", "Style S", measured.style.score, number,
              "0 is the base, 1 is as close as real images are to each other"),
        _card("domain", "Seen as the style", measured.domain.lora, percent,
              "share of images that the encoder takes for the style"),
        _card("features", "Attributes as asked", measured.features.accuracy, percent,
              "share of what prompts ask for that is seen"),
        _card("strength", "Identity at 0.65", measured.strength.keeping.identity, number,
              "cosine of img2img image and source"),
        _card("memorisation", "Memorisation A", measured.memorisation.lora, number,
              "0.5 is no copying, 1 is copies only"),
    ]  # fmt: skip
    return [card for card in listed if card is not None]


def _card(name: str, label: str, estimate: Estimate | None, write: Callable[[float], str], hint: str) -> Card | None:
    if estimate is None:
        return None
    return Card(name, label, estimate.value, write(estimate.value), estimate.interval, estimate.n, hint)


def dataset_section(version: Sequence[VersionImage], champion: Sequence[VersionImage] | None) -> DatasetSection:
    """The dataset's version against the champion's.

    Args:
        version: validate's manifest as it is now.
        champion: the version of the champion's scores; None where there is no champion, or an old one without it.
    """
    captioned = sum(image.caption is not None for image in version)
    size = f"{len(version)} images, {captioned} with a caption"
    if champion is None:
        none = "There is no earlier version to compare with: evaluate.champion names none that remembers its dataset."
        return DatasetSection(f"{size}. {none}", _quantiles(version), [], 0, [])
    changes = compare(champion, version)
    same = "The same images and captions as the champion's." if changes.is_empty else f"{changes.summary()}."
    alarm = [name for name, psi in changes.drift.items() if psi > MUCH]
    warning = f" Much shifted: {', '.join(alarm)}." if alarm else ""
    changed = [DatasetChange(one.change, one.path, one.before, one.now) for one in changes.images()]
    return DatasetSection(
        f"{size}. Since the champion's version of {changes.before} images: {same}{warning}",
        _quantiles(version),
        changed[:LISTED],
        max(0, len(changed) - LISTED),
        [MeasureDrift(name, psi, describe_drift(psi)) for name, psi in changes.drift.items()],
    )


def _quantiles(version: Sequence[VersionImage]) -> list[Quantiles]:
    rows = []
    for name, values in measures(version).items():
        if values:
            ordered = sorted(values)
            three = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
            rows.append(Quantiles(name, " · ".join(f"{value:g}" for value in three)))
    return rows


def lineage(suite: GeneratedSuite, encoders: list[Encoder], record: TrainingRecord, decision: Decision) -> list[Origin]:
    """Where the numbers come from."""
    data, version = record.dataset, _or(record.dataset.sha256)[:16]
    origins = {
        "Suite": suite_id(suite, encoders),
        "Adapter": f"sha256 {suite.adapters.get('style')}",
        "Base": f"{_or(record.base.model)}, weights {suite.identity.base}",
        "Sampler": suite.identity.sampler,
        "Dataset": f"{_or(data.train)} trained, {_or(data.holdout)} held out, version {version}",
        "Encoders": ", ".join(f"{encoder.name} {encoder.identity}" for encoder in encoders) or "none",
        "Training": ", ".join(f"{name} {record.params[name]}" for name in PARAMS if name in record.params),
        "Params": f"sha256 {_or(record.params_sha256)[:16]}",
        "Published": f"epoch {_or(record.epoch)}: {record.reason}",
        "Decision": decision.reason,
        "Code": f"anime_lora {anime_lora.__version__}, evaluation {code_hash()}",
        "Machine": machine(),
    }
    return [Origin(label, value) for label, value in origins.items()]


def code_hash() -> str:
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

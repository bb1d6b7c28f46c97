"""Validate: every image is measured and checked; the usable ones are listed, all others set aside with the reason."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from anime_lora.config import paths
from anime_lora.config.data import Validate
from anime_lora.config.section import Compute
from anime_lora.data.manifest import (
    ClusterMember,
    IngestedFile,
    QuarantinedFile,
    Unusable,
    ValidImage,
    is_passing,
    killed,
    read_manifest,
)
from anime_lora.data.memo import Memo
from anime_lora.data.quality.checks import Candidate, check
from anime_lora.data.quality.contact_sheet import contact_sheet
from anime_lora.data.quality.duplicates import cluster_members, cluster_names
from anime_lora.data.quality.measures import Measures, dataset_drift, measure
from anime_lora.errors import DatasetError
from anime_lora.executors import map_unordered
from anime_lora.files import fresh_folder, write_bytes, write_json, write_jsonl
from anime_lora.images import BYTES_PER_PIXEL
from anime_lora.progress import track

CACHE = paths.CACHE / "validate"
MEMO = "measures-3.jsonl"
"""Named anew when an image's measures can change: 3 since 16-bit and grey images with a profile have other colours."""
DRIFTING = 0.1
"""PSI from which a measure is reported as drifted."""


@dataclass(frozen=True)
class Summary:
    """`summary.json`."""

    seen: int
    valid: int
    set_aside: int
    set_aside_by_check: dict[str, int]
    with_caption: int
    with_alpha: int
    near_duplicate_clusters: int
    in_near_duplicate_clusters: int
    quantiles: dict[str, list[float]]
    """Least, 10 %, median, 90 % and greatest value of each watched measure."""


def validate(
    section: Validate, compute: Compute, source: Path = paths.INGEST, out: Path = paths.VALIDATE, cache: Path = CACHE
) -> None:
    """Write `manifest.jsonl` of usable images, `quarantine.jsonl` of all others, `clusters.jsonl` and `summary.json`.

    `set_aside.webp`, a contact sheet of those set aside, is written where there are any.

    Raises:
        DatasetError: ingest's manifest is missing, or a limit of the section is passed.
    """
    files = read_manifest(source, IngestedFile)
    memo: Memo[Measures | Unusable] = Memo(cache / MEMO, Measures | Unusable)  # type: ignore[arg-type]
    candidates, unusable = measure_all(files, source, compute, memo)
    failed = check(candidates, section)
    good = [image for image in candidates if image.id not in failed]
    rejected = [
        QuarantinedFile(file.id, file.source, file.path, "ingest", None, None, file.reason or "")
        for file in files
        if file.status == "rejected"
    ]
    quarantine = sorted([*rejected, *unusable, *failed.values()], key=lambda row: (row.source, row.path, row.check))
    manifest = valid_images(good, section.near_duplicate_bits)
    summary = summarize(len(files), good, manifest, quarantine)
    enforce(section, summary)
    with fresh_folder(out, paths.WRITES[paths.VALIDATE]) as beside:
        write_jsonl(beside / ValidImage.FILE, manifest)
        write_jsonl(beside / QuarantinedFile.FILE, quarantine)
        write_jsonl(beside / ClusterMember.FILE, cluster_members(files, candidates, manifest))
        write_json(beside / "summary.json", vars(summary))
        if quarantine:
            stored = {file.id: source / file.store for file in files if file.id and file.store}
            write_bytes(beside / paths.SET_ASIDE, contact_sheet(quarantine, stored))
    memo.save()
    report_drift(good, cache / "last.json")
    print(f"validate: {len(files)} files, {len(good)} valid, {len(quarantine)} set aside, {memo.fresh} made anew")


def measure_all(
    files: list[IngestedFile], source: Path, compute: Compute, memo: Memo[Measures | Unusable]
) -> tuple[list[Candidate], list[QuarantinedFile]]:
    """Every image that ingest took, sorted by id, and those that cannot be measured; only new ones are opened."""
    taken = {file.id: file for file in files if file.id and file.store and file.status == "taken"}
    measured = {one: known for one in taken if (known := memo.get(one)) is not None}
    new = {one: (source / str(file.store)).absolute() for one, file in taken.items() if one not in measured}
    ids = list(new)
    memory = BYTES_PER_PIXEL * max(((taken[one].width or 0) * (taken[one].height or 0) for one in ids), default=0)
    results = map_unordered(
        measure, new.values(), compute.workers, compute.dask_address, on_death=killed, item_memory=memory
    )
    for place, result in track(results, "validate", "validate", len(new), "image"):
        one = ids[place]
        measured[one] = result
        if not is_passing(result):
            memo.put(one, result)
    candidates, unusable = [], []
    for one, file in sorted(taken.items()):
        result = measured[one]
        if isinstance(result, Unusable):
            unusable.append(QuarantinedFile(one, file.source, file.path, result.code, None, None, result.reason))
        else:
            candidates.append(
                Candidate(
                    id=one, store=str(file.store), source=file.source, path=file.path, width=file.width or 0,
                    height=file.height or 0, caption=file.caption, measures=result,
                )
            )  # fmt: skip
    return candidates, unusable


def valid_images(good: list[Candidate], bits: int) -> list[ValidImage]:
    """The manifest's rows, with the near-duplicate cluster of each image."""
    clusters = cluster_names([image.id for image in good], [image.measures.phash for image in good], bits)
    return [
        ValidImage(
            id=image.id, store=image.store, source=image.source, path=image.path, width=image.width,
            height=image.height, caption=image.caption, phash=image.measures.phash, cluster=cluster,
            sharpness=image.measures.sharpness, contrast=image.measures.contrast,
        )
        for image, cluster in zip(good, clusters, strict=True)
    ]  # fmt: skip


def watched(good: list[Candidate]) -> dict[str, list[float]]:
    """The measures whose distribution is watched from version to version."""
    return {
        "contrast": [image.measures.contrast for image in good],
        "sharpness": [image.measures.sharpness for image in good],
        "short_side": [image.short_side for image in good],
    }


def summarize(
    seen: int, good: list[Candidate], manifest: list[ValidImage], quarantine: list[QuarantinedFile]
) -> Summary:
    """What became of `seen` files."""
    clusters = [size for size in Counter(image.cluster for image in manifest).values() if size > 1]
    return Summary(
        seen=seen,
        valid=len(good),
        set_aside=len(quarantine),
        set_aside_by_check=dict(sorted(Counter(row.check for row in quarantine).items())),
        with_caption=sum(image.caption is not None for image in good),
        with_alpha=sum(image.measures.alpha for image in good),
        near_duplicate_clusters=len(clusters),
        in_near_duplicate_clusters=sum(clusters),
        quantiles={
            name: [round(float(q), 3) for q in pd.Series(values).quantile([0, 0.1, 0.5, 0.9, 1])]
            for name, values in watched(good).items()
            if values
        },
    )


def enforce(section: Validate, summary: Summary) -> None:
    """Make sure that enough is left.

    Raises:
        DatasetError: too few images or captions, or too many files set aside; names count, limit and reasons.
    """
    why = ", ".join(f"{count} by {name}" for name, count in summary.set_aside_by_check.items()) or "none set aside"
    share = summary.set_aside / max(summary.seen, 1)
    if summary.valid < section.min_images:
        raise DatasetError(
            f"{summary.valid} valid images, fewer than validate.min_images = {section.min_images} ({why}): "
            "add images or loosen the limits"
        )
    if share > section.max_rejected_share:
        raise DatasetError(
            f"{share:.0%} of {summary.seen} files set aside, more than validate.max_rejected_share = "
            f"{section.max_rejected_share:.0%} ({why}): look at the sources, or loosen the limits"
        )
    captioned = summary.with_caption / summary.valid
    if captioned < section.min_caption_share:
        raise DatasetError(
            f"{captioned:.0%} of the images have a caption, fewer than validate.min_caption_share = "
            f"{section.min_caption_share:.0%}: add .txt files beside them"
        )


def report_drift(good: list[Candidate], last: Path) -> None:
    """Print how far the measures drifted since the version validated before on this machine, which `last` holds.

    It is kept beside the outputs, not in them: the same images must give the same outputs whatever came before.
    """
    now = watched(good)
    if last.is_file():
        scores = dataset_drift(json.loads(last.read_text()), now)
        if any(score > DRIFTING for score in scores.values()):
            print(f"validate: the data drifted since the last version (PSI, above 0.25 is much): {scores}")
    write_json(last, now)

"""Validate: every image is measured and held against a pandera schema; bad rows are set aside with the reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from anime_lora.config import paths
from anime_lora.config.data import Validate
from anime_lora.config.section import Compute
from anime_lora.data.measures import SIDE, clusters, contrast, phash, psi, sharpness
from anime_lora.data.memo import Memo
from anime_lora.errors import DatasetError
from anime_lora.executors import ordered
from anime_lora.files import fresh_folder, read_jsonl, write_json, write_jsonl
from anime_lora.images import decode, luma, to_rgb
from anime_lora.progress import track

Row = dict[str, Any]
CACHE = paths.CACHE / "validate"
QUARANTINE = "quarantine.jsonl"
DRIFT = ("contrast", "sharpness", "short_side")
KEPT = ("id", "store", "source", "path", "width", "height", "caption", "phash", "cluster", "sharpness", "contrast")


@dataclass(frozen=True)
class Reason:
    """A check in words: the params key with its limit, what to say."""

    key: str
    text: str


REASONS = {
    "short_side": Reason("min_side", "shorter side is {value:g} px, less than validate.min_side = {limit:g}"),
    "aspect": Reason(
        "max_aspect", "longer side is {value:g} times the shorter, more than validate.max_aspect = {limit:g}"
    ),
    "contrast": Reason(
        "min_contrast", "blank: luma deviates by {value:g}, less than validate.min_contrast = {limit:g}"
    ),
    "sharpness": Reason(
        "min_sharpness", "blurred: Laplacian variance {value:g}, less than validate.min_sharpness = {limit:g}"
    ),
}


def validate(
    section: Validate, compute: Compute, source: Path = paths.INGEST, out: Path = paths.VALIDATE, cache: Path = CACHE
) -> None:
    """Write `manifest.jsonl` of usable images, `quarantine.jsonl` of all others, and `summary.json`.

    Raises:
        DatasetError: ingest's manifest is missing, or a limit of the section is passed.
    """
    seen = read_manifest(source, "ingest")
    memo = Memo(cache / "measures.jsonl")
    frame = _measured([row for row in seen if row["status"] == "taken"], source, compute, memo)
    bad = _check(frame, section)
    good = frame[~frame["id"].isin([row["id"] for row in bad])].copy()
    good["cluster"] = _cluster_names(good, section.near_duplicate_bits)
    refused = [_aside(row, "ingest", None, None, row["reason"]) for row in seen if row["status"] == "rejected"]
    quarantine = sorted(refused + bad, key=lambda row: (row["source"], row["path"], row["check"]))
    summary = _summary(seen, good, quarantine)
    _enforce(section, summary)
    with fresh_folder(out, paths.WRITES[paths.VALIDATE]) as beside:
        write_jsonl(beside / paths.MANIFEST, (_plain(row) for row in good[list(KEPT)].to_dict("records")))
        write_jsonl(beside / QUARANTINE, quarantine)
        write_json(beside / "summary.json", summary)
    memo.save()
    _drift(good, cache)
    print(f"validate: {len(seen)} files, {len(good)} valid, {len(quarantine)} set aside, {memo.fresh} made anew")


def read_manifest(folder: Path, stage: str) -> list[Row]:
    """The manifest a stage wrote.

    Raises:
        DatasetError: it is missing or damaged.
    """
    path = folder / paths.MANIFEST
    try:
        return read_jsonl(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} not found: run `python -m anime_lora {stage}` (or `dvc repro`) first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} is damaged ({error}): delete it and run `python -m anime_lora {stage}` again"
        ) from None


def measure(path: Path) -> Row:
    """Numbers of one stored image: pixel hash, perceptual hash, contrast, sharpness, alpha."""
    image = decode(path.read_bytes())
    pixels = to_rgb(image)
    values = luma(pixels, SIDE)
    return {
        "pixels": sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest(),
        "phash": phash(values),
        "contrast": contrast(values),
        "sharpness": sharpness(values),
        "alpha": image.has_transparency_data,
    }


def _measured(taken: list[Row], source: Path, compute: Compute, memo: Memo) -> pd.DataFrame:
    new = [row for row in taken if memo.get(row["id"]) is None]
    stored = ((source / row["store"]).absolute() for row in new)
    results = ordered(measure, stored, compute.workers, compute.dask_address)
    for row, numbers in zip(new, track(results, "validate", "validate", len(new), "image"), strict=True):
        memo.put(row["id"], numbers)
    frame = pd.DataFrame([{**row, **(memo.get(row["id"]) or {})} for row in taken]).sort_values("id", ignore_index=True)
    frame["short_side"] = frame[["width", "height"]].min(axis=1).astype(float)
    frame["aspect"] = (frame[["width", "height"]].max(axis=1) / frame["short_side"]).round(4)
    return frame


def schema(section: Validate) -> pa.DataFrameSchema:
    """The limits of the section as a pandera schema, one column per check."""
    return pa.DataFrameSchema(
        {
            "id": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$"), unique=True),
            "short_side": pa.Column(float, pa.Check.ge(section.min_side)),
            "aspect": pa.Column(float, pa.Check.le(section.max_aspect)),
            "contrast": pa.Column(float, pa.Check.ge(section.min_contrast)),
            "sharpness": pa.Column(float, pa.Check.ge(section.min_sharpness)),
        }
    )


def _check(frame: pd.DataFrame, section: Validate) -> list[Row]:
    """Rows to set aside, the first failed check of each image."""
    bad: dict[str, Row] = {}
    try:
        schema(section).validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        if cases["index"].isna().any():
            raise DatasetError(
                f"ingest's manifest has the wrong columns: {cases['failure_case'].tolist()[:3]}; run ingest again"
            ) from None
        for case in cases.sort_values(["index", "column"]).to_dict("records"):
            row, reason = frame.loc[case["index"]], REASONS[case["column"]]
            limit, value = float(getattr(section, reason.key)), float(case["failure_case"])
            entry = _aside(row, str(case["column"]), value, limit, reason.text.format(value=value, limit=limit))
            bad.setdefault(row["id"], entry)
    sound = frame[~frame["id"].isin(list(bad))].sort_values("path")
    for _, row in sound[sound.duplicated("pixels")].iterrows():
        first = sound[sound["pixels"] == row["pixels"]].iloc[0]
        bad[row["id"]] = _aside(row, "duplicate", None, None, f"same pixels as {first['path']}")
    return list(bad.values())


def _aside(row: Any, check: str, value: float | None, limit: float | None, reason: str) -> Row:
    return {
        "id": row["id"],
        "source": row["source"],
        "path": row["path"],
        "check": check,
        "value": value,
        "limit": limit,
        "reason": reason,
    }


def _cluster_names(good: pd.DataFrame, bits: int) -> list[str]:
    """The smallest id of each image's near-duplicate cluster."""
    labels = clusters(list(good["phash"]), bits)
    return list(good.groupby(labels)["id"].transform("min")) if len(good) else []


def _summary(seen: list[Row], good: pd.DataFrame, quarantine: list[Row]) -> Row:
    reasons = pd.Series([row["check"] for row in quarantine], dtype=object).value_counts().sort_index()
    sizes = good["cluster"].value_counts()
    return {
        "seen": len(seen),
        "valid": len(good),
        "set_aside": len(quarantine),
        "set_aside_by_check": {str(key): int(count) for key, count in reasons.items()},
        "with_caption": int(good["caption"].notna().sum()),
        "with_alpha": int(good["alpha"].sum()),
        "near_duplicate_clusters": int((sizes > 1).sum()),
        "in_near_duplicate_clusters": int(sizes[sizes > 1].sum()),
        "quantiles": {
            name: [round(float(q), 3) for q in good[name].quantile([0, 0.1, 0.5, 0.9, 1])]
            for name in DRIFT
            if len(good)
        },
    }


def _enforce(section: Validate, summary: Row) -> None:
    """Raise when too little is left; the message names count, limit and the commonest reasons."""
    why = ", ".join(f"{count} by {check}" for check, count in summary["set_aside_by_check"].items()) or "none set aside"
    share = summary["set_aside"] / max(summary["seen"], 1)
    if summary["valid"] < section.min_images:
        raise DatasetError(
            f"{summary['valid']} valid images, fewer than validate.min_images = {section.min_images} ({why}): "
            "add images or loosen the limits"
        )
    if share > section.max_rejected_share:
        raise DatasetError(
            f"{share:.0%} of {summary['seen']} files set aside, more than validate.max_rejected_share = "
            f"{section.max_rejected_share:.0%} ({why}): look at the sources, or loosen the limits"
        )
    captioned = summary["with_caption"] / summary["valid"]
    if captioned < section.min_caption_share:
        raise DatasetError(
            f"{captioned:.0%} of the images have a caption, fewer than validate.min_caption_share = "
            f"{section.min_caption_share:.0%}: add .txt files beside them"
        )


def _plain(row: Mapping[Any, Any]) -> Row:
    return {str(key): (None if pd.isna(value) else value) for key, value in row.items()}


def _drift(good: pd.DataFrame, cache: Path) -> None:
    """Compare with the version validated before on this machine, and say so; kept beside the outputs, not in them."""
    now = {name: good[name].tolist() for name in DRIFT}
    path = cache / "last.json"
    if path.is_file():
        before = json.loads(path.read_text())
        scores = {name: psi(np.array(before[name]), np.array(now[name])) for name in DRIFT if before.get(name)}
        if any(score > 0.1 for score in scores.values()):
            print(f"validate: the data drifted since the last version (PSI, above 0.25 is much): {scores}")
    write_json(path, now)

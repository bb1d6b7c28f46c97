"""evaluate: images become numbers, numbers become verdicts, and both become one page."""

import hashlib
import json
from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.config.evaluate import Evaluate
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.data.dataset_diff import VersionImage, read_version
from anime_lora.diffusion.device import pick_device
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.claims import judge
from anime_lora.evaluation.encoders import Encoder, load_encoders
from anime_lora.evaluation.image_sets import Album, encode, load_dataset, load_generated, load_originals, load_sources
from anime_lora.evaluation.metrics.measure import judging, measure
from anime_lora.evaluation.metrics.nearest import nearest
from anime_lora.evaluation.metrics.results import Findings, plain
from anime_lora.evaluation.promotion import decide, gates, read_champion
from anime_lora.evaluation.report import page
from anime_lora.evaluation.report.data import data_section
from anime_lora.evaluation.report.figures import curves, galleries, tables
from anime_lora.evaluation.report.model import content
from anime_lora.evaluation.report.plots import read_heldout, write_csv
from anime_lora.files import check_no_foreign_files, fresh_folder, write_json
from anime_lora.progress import Progress

STAGE = "evaluate"
SHOWN_PARAMS = ("rank", "alpha", "target", "epochs", "learning_rate")
"""Training params named in the report's lineage."""


def evaluate(
    section: Evaluate,
    concept: Concept,
    base: Base,
    compute: Compute,
    *,
    samples: Path = paths.VALIDATE_SAMPLE,
    ingest: Path = paths.INGEST,
    validate: Path = paths.VALIDATE,
    dataset: Path = paths.ORGANIZE,
    train: Path = paths.TRAIN,
    out: Path = paths.EVALUATE,
) -> None:
    """Measure the generated images; write metrics, claims, scores and decision (.json), plots/, grids/ and the report.

    Raises:
        AnimeLoraError: images or dataset are missing or damaged. A missing encoder is no error: it is reported.
    """
    check_no_foreign_files(out, paths.WRITES[paths.EVALUATE])
    champion = read_champion(section.champion)
    suite, checks = _read(samples / "suite.json"), _read(samples / "checks.json")
    record, version = _read(train / "record.json"), read_version(validate)
    encoders, skipped = load_encoders(section.encoders, pick_device(compute.device))
    training, holdout = load_dataset(dataset)
    album = Album(
        load_generated(samples), load_sources(samples, "sources"), load_sources(samples, "counterparts"),
        holdout, training, load_originals(ingest, holdout.table["id"]),
        base.resolution, section.bootstrap, section.seed,
    )  # fmt: skip
    with Progress(STAGE, "encoding", len(encoders) * len(album.parts()), unit="set") as progress:
        for encoder in encoders:
            for part in album.parts():
                encode(part, encoder, album.size)
                progress.update()
    found = measure(album, encoders, checks, suite, section)
    found.skipped += skipped
    claims = judge(found, checks, section)
    heldout = read_heldout(train / "plots" / "heldout.csv")
    with fresh_folder(out, paths.WRITES[paths.EVALUATE]) as folder:
        _place(folder, found, claims, heldout)
        if (first := judging(encoders)) is not None:
            (folder / "grids").mkdir()
            nearest(album, first, folder / "grids")
        exhibits = {
            "galleries": galleries(samples / "grids", folder / "grids", out),
            "curves": curves(found, heldout, record.get("epoch")),
            "tables": tables(found),
        }
        lineage = _lineage(suite, encoders, record)
        images = [vars(image) for image in version]
        scores = {"suite_id": lineage["Suite"], "gates": gates(checks), "units": found.units, "dataset": images}
        decision = decide(scores, champion, section)
        write_json(folder / "scores.json", scores)
        write_json(folder / "decision.json", decision.plain())
        lineage["Decision"] = decision.reason
        described = content(found, claims, exhibits, {"concept": concept.model_dump(), **record}, lineage)
        before = champion["dataset"] if champion else None
        described["dataset"] = data_section(version, before and [VersionImage(**image) for image in before])
        write_json(folder / "report.json", described)
        page.write_report(folder, described)


def _read(file: Path) -> dict[str, Any]:
    """A JSON object an earlier stage wrote.

    Raises:
        EvaluationError: it is not there or damaged.
    """
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{file} cannot be read: run `dvc repro validate-sample` first") from error
    return value


def _place(folder: Path, found: Findings, claims: list[dict[str, Any]], heldout: list[dict[str, float]]) -> None:
    """metrics.json for `dvc metrics`, claims.json, and one CSV per curve for `dvc plots`."""
    numbers: dict[str, Any] = {name: plain(one) for name, one in found.numbers.items() if one.value == one.value}
    verdicts = {claim["id"]: claim["verdict"] for claim in claims}
    losses = [row["heldout"] for row in heldout if "heldout" in row]
    best = {"heldout_loss": {"value": min(losses), "base": losses[0]}} if losses else {}
    write_json(folder / "metrics.json", {**numbers, **best, "claims": verdicts})
    write_json(folder / "claims.json", claims)
    for name, rows in {**found.curves, "heldout": heldout}.items():
        if rows:
            write_csv(folder / "plots" / f"{name}.csv", rows)


def _lineage(suite: dict[str, Any], encoders: list[Encoder], record: dict[str, Any]) -> dict[str, str]:
    """Where the numbers come from. The suite's id covers generation and encoders: only equal ids are comparable."""
    weights = {encoder.name: encoder.identity for encoder in encoders}
    text = json.dumps([suite["suite_id"], weights], sort_keys=True)
    params, data = record.get("params", {}), record.get("dataset", {})
    return {
        "Suite": hashlib.sha256(text.encode()).hexdigest(),
        "Adapter": "sha256 " + str(suite["adapters"].get("style")),
        "Base": f"{record.get('base', {}).get('model', '?')}, weights {suite['identity']['base']}",
        "Sampler": suite["identity"]["sampler"],
        "Dataset": f"{data.get('train', '?')} trained, {data.get('holdout', '?')} held out, "
        f"version {str(data.get('sha256', '?'))[:16]}",
        "Encoders": ", ".join(f"{name} {mark}" for name, mark in weights.items()) or "none",
        "Training": ", ".join(f"{name} {params[name]}" for name in SHOWN_PARAMS if name in params),
        "Params": f"sha256 {str(record.get('params_sha256', '?'))[:16]}",
        "Published": f"epoch {record.get('epoch', '?')}: {record.get('reason', '')}",
    }

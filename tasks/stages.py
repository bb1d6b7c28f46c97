"""The tasks of the seven stages: each has DVC bring its stage up to date, then shows its results in Prefect's pages."""

import json
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from pydantic import TypeAdapter

from anime_lora.config import paths
from anime_lora.data.dataset_diff import compare, read_version
from anime_lora.data.manifest import (
    ClusterMember,
    DatasetImage,
    IngestedFile,
    QuarantinedFile,
    SquareImage,
    read_manifest,
)
from tasks.artifacts import Cell, show_image, show_images, show_table
from tasks.dvc_process import DVC, StageResult
from tasks.process_group import command_environment
from tasks.stage_run import Mode, run_stage, stage_task

REJECT_COLUMNS = ("source", "path", "check", "value", "limit", "reason")
TRAINING_IMAGES = 24
"""So many of the resized images are shown."""
MARKS = {"shown": "✓", "not shown": "✗"}


@stage_task("ingest")
def ingest(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring ingest up to date; show how many files each source gave."""
    return run_stage("ingest", timeout, mode, show_sources)


def show_sources() -> None:
    """Table `sources`: files taken and rejected, by source."""
    counts = Counter((file.source, file.status) for file in read_manifest(paths.INGEST, IngestedFile))
    sources = sorted({source for source, _ in counts})
    rows: list[dict[str, str | int]] = [
        {"source": one, "taken": counts[one, "taken"], "rejected": counts[one, "rejected"]} for one in sources
    ]
    show_table(rows, "sources", "Files of each source")


@stage_task("validate")
def validate(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring validate up to date; show what was rejected and why, and what changed since the last committed version."""
    return run_stage("validate", timeout, mode, show_rejects_and_changes)


def show_rejects_and_changes() -> None:
    """Table `rejects` and image `set-aside`: what is not used, and why; `clusters`; `dataset-changes` where known."""
    quarantine = read_manifest(paths.VALIDATE, QuarantinedFile)
    rows = [{name: getattr(file, name) for name in REJECT_COLUMNS} for file in quarantine]
    show_table(rows, "rejects", f"{len(rows)} files are not used, and why")
    show_image(paths.VALIDATE / paths.SET_ASIDE, "set-aside", f"Some of the {len(rows)} files that are not used")
    members = read_manifest(paths.VALIDATE, ClusterMember)
    show_table([vars(member) for member in members], "clusters", "Images that look alike, and copies that are left out")
    with tempfile.TemporaryDirectory() as folder:
        before = committed_manifest(Path(folder) / paths.MANIFEST)
        if before is not None:
            changes = compare(read_version(before), read_version(paths.VALIDATE))
            text = f"Since the last committed version of {changes.before} images: {changes.summary()}"
            show_table(changes.table(), "dataset-changes", text)


def committed_manifest(target: Path, revision: str = "HEAD") -> Path | None:
    """Validate's manifest as `dvc.lock` of a Git revision names it, put at `target` from DVC's cache or remote.

    None where that revision has no such version, or its files are gone.
    """
    manifest = str(paths.VALIDATE / paths.MANIFEST)
    command = [*DVC, "get", "-q", ".", manifest, "--rev", revision, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, env=command_environment(), check=False)
    return target if done.returncode == 0 and target.is_file() else None


@stage_task("resize")
def resize(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring resize up to date; show some of the squares."""
    return run_stage("resize", timeout, mode, show_training_images)


def show_training_images() -> None:
    """Image `training-images`: the first squares, as training reads them."""
    squares = read_manifest(paths.RESIZE, SquareImage)
    files = [paths.RESIZE / square.file for square in squares[:TRAINING_IMAGES]]
    show_images(files, "training-images", f"{len(files)} of {len(squares)} images as training sees them")


@stage_task("organize")
def organize(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring organize up to date; show the split."""
    return run_stage("organize", timeout, mode, show_splits)


def show_splits() -> None:
    """Table `dataset`: images of each split, with a caption as training reads it."""
    images = read_manifest(paths.ORGANIZE, DatasetImage)
    counts = Counter(image.split for image in images)
    first = {image.split: image.text for image in reversed(images)}
    table: list[dict[str, str | int]] = [
        {"split": split, "images": counts[split], "for example": first[split]} for split in sorted(counts)
    ]
    show_table(table, "dataset", "The dataset and its held-out part")


@stage_task("train")
def train(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring train up to date; show each epoch's losses and the published epoch's samples."""
    return run_stage("train", timeout, mode, show_epochs)


def show_epochs() -> None:
    """Table `epochs` and image `epoch-samples`."""
    record = json.loads((paths.TRAIN / "record.json").read_text(encoding="utf-8"))
    epoch = record["epoch"]
    numbers = [{k: v for k, v in row.items() if not isinstance(v, (dict, list))} for row in record["epochs"]]
    show_table(numbers, "epochs", f"Epoch {epoch} was published: {record['reason']}")
    samples = paths.TRAIN / "samples" / f"epoch-{epoch:02d}.png"
    show_image(samples, "epoch-samples", f"Samples after epoch {epoch}")


@stage_task("validate-sample")
def validate_sample(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring validate-sample up to date; show every gallery."""
    return run_stage("validate-sample", timeout, mode, show_galleries)


def show_galleries() -> None:
    """One image `gallery-<name>` each."""
    for path in sorted((paths.VALIDATE_SAMPLE / "grids").glob("*.webp")):
        name = path.stem.lower().replace("_", "-")
        show_image(path, f"gallery-{name}", f"Gallery {path.stem}: base beside LoRA on the same seeds")


@stage_task("evaluate")
def evaluate(timeout: float | None = None, mode: Mode = "auto") -> State[StageResult]:
    """Bring evaluate up to date; show the numbers and the verdict of each claim."""
    return run_stage("evaluate", timeout, mode, show_metrics_and_claims)


def show_metrics_and_claims() -> None:
    """Table `metrics` and Markdown `verdict`."""
    metrics = TypeAdapter(dict[str, int | float]).validate_json((paths.EVALUATE / "metrics.json").read_bytes())
    rows: list[dict[str, Cell]] = [{"metric": name, "value": value} for name, value in metrics.items()]
    show_table(rows, "metrics", "What was measured")
    claims = TypeAdapter(list[ClaimRow]).validate_json((paths.EVALUATE / "claims.json").read_bytes())
    page = claims_page(claims)
    create_markdown_artifact(markdown=page, key="verdict", description="Each claim and whether it is shown")


@dataclass(frozen=True)
class ClaimRow:
    """What the page says of a claim, from claims.json; `anime_lora.evaluation.claims` itself loads torch."""

    claim: str
    verdict: str
    metric: str
    text: str
    interval: tuple[float, float] | None
    n: int | None
    reason: str


def claims_page(claims: list[ClaimRow]) -> str:
    """The claims as a Markdown table with the sentence behind each verdict."""
    head = ["# Verdict", "", "| claim | verdict | measured | n | |", "|---|---|---|---|---|"]
    rows = [f"| {' | '.join(_cells(claim))} |" for claim in claims]
    return "\n".join([*head, *rows, "", f"The whole report: `{paths.EVALUATE / 'report.html'}`"]) + "\n"


def _cells(claim: ClaimRow) -> list[str]:
    interval = f" [{claim.interval[0]:.3g}, {claim.interval[1]:.3g}]" if claim.interval else ""
    mark = MARKS.get(claim.verdict, "–")
    measured = f"{claim.metric}: {claim.text}{interval}"
    cells = [claim.claim, f"{mark} {claim.verdict}", measured, str(claim.n or ""), claim.reason]
    return [cell.replace("|", "/") for cell in cells]

"""The train task."""

from pathlib import Path

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from tasks.artifacts import read_json, show_image, show_table
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task


@stage_task("train")
def train(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring train up to date; show each epoch's losses and the published epoch's samples."""
    return run_stage("train", limit, need, show)


def show() -> None:
    """Table `epochs` and image `epoch-samples`."""
    record = read_json(paths.TRAIN / "record.json")
    numbers = [{k: v for k, v in row.items() if not isinstance(v, (dict, list))} for row in record["epochs"]]
    show_table(numbers, "epochs", f"Epoch {record['epoch']} was published: {record['reason']}")
    strip = _strip(record["epoch"])
    show_image(strip, "epoch-samples", f"Samples after epoch {record['epoch']}")


def _strip(epoch: int) -> Path:
    return paths.TRAIN / "samples" / f"epoch-{epoch:02d}.png"

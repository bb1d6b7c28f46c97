"""The resize task."""

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from anime_lora.files import read_jsonl
from tasks.artifacts import show_images
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task

SHOWN = 24


@stage_task("resize")
def resize(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring resize up to date; show some of the squares."""
    return run_stage("resize", limit, need, show)


def show() -> None:
    """Image `training-images`: the first squares, as training sees them."""
    rows = read_jsonl(paths.RESIZE / paths.MANIFEST)
    files = [paths.RESIZE / row["file"] for row in rows[:SHOWN]]
    show_images(files, "training-images", f"{len(files)} of {len(rows)} images as training sees them")

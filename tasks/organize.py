"""The organize task."""

from collections import Counter

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from anime_lora.files import read_jsonl
from tasks.artifacts import show_table
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task


@stage_task("organize")
def organize(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring organize up to date; show the split."""
    return run_stage("organize", limit, need, show)


def show() -> None:
    """Table `dataset`: images of each split, with a caption as training reads it."""
    rows = read_jsonl(paths.ORGANIZE / "metadata.jsonl")
    counts = Counter(row["split"] for row in rows)
    first = {row["split"]: row["text"] for row in reversed(rows)}
    table = [{"split": split, "images": counts[split], "for example": first[split]} for split in sorted(counts)]
    show_table(table, "dataset", "The dataset and its held-out part")

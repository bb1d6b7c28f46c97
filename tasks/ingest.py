"""The ingest task."""

from collections import Counter

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from anime_lora.files import read_jsonl
from tasks.artifacts import show_table
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task


@stage_task("ingest")
def ingest(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring ingest up to date; show how many files each source gave."""
    return run_stage("ingest", limit, need, show)


def show() -> None:
    """Table `sources`: files taken and rejected, by source."""
    counts = Counter((row["source"], row["status"]) for row in read_jsonl(paths.INGEST / paths.MANIFEST))
    sources = sorted({source for source, _ in counts})
    rows = [{"source": one, **{status: counts[one, status] for status in ("taken", "rejected")}} for one in sources]
    show_table(rows, "sources", "Files of each source")

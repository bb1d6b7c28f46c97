"""The validate task."""

from prefect.client.schemas.objects import State

from anime_lora import paths
from anime_lora.files import read_jsonl
from tasks.dvc_stage import Need, Outcome
from tasks.exhibits import show_table
from tasks.stage_run import run_stage, stage_task

COLUMNS = ("source", "path", "check", "value", "limit", "reason")


@stage_task("validate")
def validate(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring validate up to date; show what was set aside and why."""
    return run_stage("validate", limit, need, show)


def show() -> None:
    """Table `rejects`: every file that is not used, with the reason."""
    rows = read_jsonl(paths.VALIDATE / "quarantine.jsonl")
    shown = [{name: row.get(name) for name in COLUMNS} for row in rows]
    show_table(shown, "rejects", f"{len(rows)} files are not used, and why")

"""The evaluate task."""

from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from anime_lora.config import paths
from tasks.artifacts import read_json, show_table
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task

MARKS = {"shown": "✓", "not shown": "✗"}


@stage_task("evaluate")
def evaluate(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring evaluate up to date; show the numbers and the verdict of each claim."""
    return run_stage("evaluate", limit, need, show)


def show() -> None:
    """Table `metrics` and Markdown `verdict`."""
    show_table(metric_rows(read_json(paths.EVALUATE / "metrics.json")), "metrics", "What was measured")
    page = verdict_page(read_json(paths.EVALUATE / "claims.json"))
    create_markdown_artifact(markdown=page, key="verdict", description="Each claim and whether it is shown")


def metric_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per number: its name, and its value or its own fields."""
    numbers = {name: value for name, value in metrics.items() if name != "claims"}
    fields = {name: value if isinstance(value, dict) else {"value": value} for name, value in numbers.items()}
    return [{"metric": name, **values} for name, values in fields.items()]


def verdict_page(claims: list[dict[str, Any]]) -> str:
    """The claims as a Markdown table with the sentence behind each verdict."""
    head = ["# Verdict", "", "| claim | verdict | measured | n | |", "|---|---|---|---|---|"]
    rows = [f"| {' | '.join(_cells(claim))} |" for claim in claims]
    return "\n".join([*head, *rows, "", f"The whole report: `{paths.EVALUATE / 'report.html'}`"]) + "\n"


def _cells(claim: dict[str, Any]) -> list[str]:
    between = claim["interval"]
    interval = f" [{between[0]:.3g}, {between[1]:.3g}]" if between else ""
    mark = MARKS.get(claim["verdict"], "–")
    cells = [claim["claim"], f"{mark} {claim['verdict']}", f"{claim['metric']}: {claim['text']}{interval}"]
    return [str(cell).replace("|", "/") for cell in [*cells, claim["n"] or "", claim["reason"]]]

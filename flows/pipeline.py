"""The flow: seven tasks in dvc.yaml's order, called directly, stopped at the first that fails."""

import time
from collections.abc import Collection
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from anime_lora.data.source_diff import SourceChanges
from flows.champion.preflight import preflight
from flows.champion.why import why
from flows.runtime.crashed_runs import mark_orphans
from flows.runtime.lock import run_lock
from tasks.dvc_process import Need, Outcome, RunCancelledError, StageFailedError, unchanged_stages
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.organize import organize
from tasks.resize import resize
from tasks.train import train
from tasks.validate import validate
from tasks.validate_sample import validate_sample

CHAIN = (ingest, validate, resize, organize, train, validate_sample, evaluate)
"""Called, not submitted: a submitted task outlives a cancelled run."""
WORDS = {"unchanged": "cached", "restored": "cached (restored)", "executed": "executed"}


def run_name() -> str:
    """Who asked, and what is new since the last run."""
    return f"{flow_run.parameters.get('asked', 'by hand')}: {why()}"


@flow(name="anime-lora", flow_run_name=run_name, persist_result=False)
def pipeline(asked: str = "by hand", retries: int = 0, limit_minutes: float | None = None) -> State[None] | None:
    """Bring all seven stages up to date; ends as Cancelled, its stage with it, once somebody cancels it in the UI.

    Args:
        asked: what started the run; it begins the run's name.
        retries: further attempts of a failed stage. Stages are deterministic: useful where a network is involved.
        limit_minutes: a stage that runs longer is ended and counts as failed; 0 or nothing: no limit.

    Raises:
        RunLockedError, PreflightError, ParamsError: nothing was started.
        StageFailedError: a stage failed; the stages after it were not started.
    """
    with run_lock():
        mark_orphans()
        preflight()
        rows: list[dict[str, Any]] = []
        try:
            run_chain(rows, retries, limit_minutes)
        except RunCancelledError as cancelled:
            return Cancelled(message=str(cancelled))
        finally:
            create_table_artifact(table=rows, key="stages", description="What each stage did")
    return None


def unseen(difference: SourceChanges) -> set[str]:
    """Ingest when a source that is a URL has changed: it is no dep, so DVC would find ingest up to date."""
    changed = (*difference.added, *difference.removed, *difference.changed)
    return {"ingest"} if any("://" in file.source for file in changed) else set()


def run_chain(
    rows: list[dict[str, Any]], retries: int, limit_minutes: float | None, forced: Collection[str] = ()
) -> None:
    """Call the tasks one after the other; `rows` gets one line per stage, also of those that were not reached.

    The stages named `forced` run even when nothing they read has changed; `limit_minutes` is for each stage.

    Raises:
        StageFailedError, RunCancelledError: the stages after that one were not started.
    """
    try:
        _call(rows, retries, limit_minutes, forced)
    finally:
        rows += [_row(stage.name, "not run", None) for stage in CHAIN[len(rows) :]]


def _call(rows: list[dict[str, Any]], retries: int, limit_minutes: float | None, forced: Collection[str]) -> None:
    before: list[State[Outcome]] = []
    limit = 60 * limit_minutes if limit_minutes else None
    unchanged = set(unchanged_stages())
    for stage in CHAIN:
        need: Need = "force" if stage.name in forced else "none" if stage.name in unchanged else "ask"
        start = time.monotonic()
        try:
            state = stage.with_options(retries=retries)(limit, need, wait_for=before)
        except StageFailedError as error:
            rows.append(_row(stage.name, "failed", start, str(error)))
            raise StageFailedError(f"{stage.name}: {error}") from None
        except BaseException:  # such as Prefect's runner, which ends a run that was cancelled
            rows.append(_row(stage.name, "interrupted", start))
            raise
        if state.is_cancelled():
            rows.append(_row(stage.name, "cancelled", start))
            raise RunCancelledError(state.message)
        outcome: Outcome = state.result()
        rows.append({**_row(stage.name, WORDS[outcome.how], start), "seconds": outcome.seconds})
        before = [state]
        if outcome.how != "unchanged":
            unchanged = set()


def _row(stage: str, state: str, start: float | None, reason: str = "") -> dict[str, Any]:
    seconds = None if start is None else round(time.monotonic() - start, 1)
    return {"stage": stage, "state": state, "seconds": seconds, "reason": reason}

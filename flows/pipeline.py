"""The flow: seven tasks in dvc.yaml's order, called directly, stopped at the first that fails."""

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from anime_lora.data.source_diff import SourceChanges
from flows.champion.preflight import preflight
from flows.champion.triggers import changes_since_last_run
from flows.errors import RunCancelledError, StageFailedError
from flows.runtime.crashed_runs import mark_crashed_runs
from flows.runtime.lock import run_lock
from tasks.artifacts import show_table
from tasks.dvc_internals import Action
from tasks.dvc_process import StageResult, unchanged_stages
from tasks.stage_run import Mode
from tasks.stages import evaluate, ingest, organize, resize, train, validate, validate_sample

CHAIN = (ingest, validate, resize, organize, train, validate_sample, evaluate)
"""Called, not submitted: a submitted task outlives a cancelled run."""
STATES: dict[Action, str] = {"unchanged": "cached", "restored": "cached (restored)", "executed": "executed"}


@dataclass(frozen=True)
class StageRow:
    """A stage in the run's table `stages`: how it ended, after how many seconds, and why where it failed."""

    stage: str
    state: str
    seconds: float | None = None
    reason: str = ""


def run_name() -> str:
    """What started the run, and what is new since the last one."""
    return f"{flow_run.parameters.get('asked', 'by hand')}: {changes_since_last_run()}"


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
        mark_crashed_runs()
        preflight()
        try:
            run_chain(retries, limit_minutes)
        except RunCancelledError as error:
            return Cancelled(message=str(error))
    return None


def run_chain(
    retries: int, limit_minutes: float | None, forced: Collection[str] = (), chain: Sequence[Any] = CHAIN
) -> None:
    """Call the tasks one after the other; table `stages` gets a row for each, also for those that were not reached.

    Args:
        retries: further attempts of a failed stage.
        limit_minutes: for each stage; 0 or None: no limit.
        forced: names of stages that run even when nothing they read has changed.
        chain: the tasks, in order.

    Raises:
        StageFailedError, RunCancelledError: the stages after that one were not started.
    """
    rows: list[StageRow] = []
    timeout = 60 * limit_minutes if limit_minutes else None
    before: list[State[StageResult]] = []
    # One DVC process for all stages: one for each would cost a run without work several seconds a stage.
    unchanged = set(unchanged_stages())
    try:
        for stage in chain:
            mode: Mode = "force" if stage.name in forced else "skip" if stage.name in unchanged else "auto"
            state = _call(stage.with_options(retries=retries), timeout, mode, before, rows)
            result: StageResult = state.result()
            rows.append(StageRow(stage.name, STATES[result.action], result.seconds))
            before = [state]
            if result.action != "unchanged":  # its outputs are other ones, so DVC has to look at the stages after it
                unchanged = set()
    finally:
        rows += [StageRow(stage.name, "not run") for stage in chain[len(rows) :]]
        show_table([asdict(row) for row in rows], "stages", "What each stage did")


def _call(
    stage: Any, timeout: float | None, mode: Mode, before: list[State[StageResult]], rows: list[StageRow]
) -> State[StageResult]:
    """The task's state once it ended well; a row for a stage that did not."""
    start = time.monotonic()

    def add_row(state: str, reason: str = "") -> None:
        rows.append(StageRow(stage.name, state, round(time.monotonic() - start, 1), reason))

    try:
        state: State[StageResult] = stage(timeout, mode, wait_for=before)
    except StageFailedError as error:
        add_row("failed", str(error))
        raise StageFailedError(f"{stage.name}: {error}") from None
    except BaseException:  # such as Prefect's runner, which ends a run that was cancelled
        add_row("interrupted")
        raise
    if state.is_cancelled():
        add_row("cancelled")
        raise RunCancelledError(state.message)
    return state


def stages_to_force(changes: SourceChanges) -> set[str]:
    """Ingest when a source that is a URL has changed: it is no dep, so DVC would call ingest unchanged."""
    files = (*changes.added, *changes.removed, *changes.changed)
    return {"ingest"} if any("://" in file.source for file in files) else set()

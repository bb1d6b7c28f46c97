"""The nightly flow: new images become a challenger, and the better of two LoRAs is the champion."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from anime_lora.config import paths
from anime_lora.config.load import load_params
from flows.champion import record, triggers
from flows.champion.compare import Verdict, judge
from flows.champion.preflight import committable, equipped, preflight, ready
from flows.champion.promote import promote
from flows.champion.store import SmokeTestError
from flows.champion.triggers import Stage
from flows.pipeline import run_chain, unseen
from flows.runtime import notify
from flows.runtime.crashed_runs import mark_orphans
from flows.runtime.lock import run_lock
from flows.runtime.overrides import overridden, pending
from flows.runtime.process import CommandFailedError
from tasks.artifacts import show_table
from tasks.dvc_process import RunCancelledError


def run_name() -> str:
    """What asked for the run; what it found to do follows when it is known."""
    return str(flow_run.parameters.get("reason", "by hand"))


@flow(
    name="retrain",
    flow_run_name=run_name,
    persist_result=False,
    on_failure=[notify.failed],
    on_crashed=[notify.failed],
)
def retrain(
    reason: str = "by hand",
    force: Stage | None = None,
    overrides: list[str] | None = None,
    limit_minutes: float | None = None,
) -> State[None]:
    """Train on what is new in the sources, compare with the champion, publish the better one, record it in Git.

    Ends as `Skipped` (nothing new), `Promoted` or `Rejected`, all three of them Completed; or as `Cancelled`.

    Args:
        reason: what started the run; it begins the run's name.
        force: a stage to run even when nothing it reads has changed; the run then never ends as Skipped.
        overrides: values of params.yaml for this run, as in `dvc exp run -S`: `train.rank=8`. They are committed when
            the challenger wins, and taken back when it does not.
        limit_minutes: a stage that runs longer is ended and counts as failed; 0 or nothing: no limit.

    Raises:
        RunLockedError, PreflightError, ParamsError, SourceError: nothing was started.
        StageFailedError: a stage failed; the stages after it were not started.
        SmokeTestError: the challenger won but cannot be loaded or generates nothing; the champion is as it was.
        CommandFailedError: DVC or Git refused to record or to send the result.
    """
    with run_lock():
        mark_orphans()
        committable()
        unsent = record.settle()
        preflight()
        ready(load_params(paths.PARAMS), record.OURS)
        changes = list(overrides or [])
        with overridden(changes):
            if changes:
                preflight()  # they may name other sources
            work = triggers.look(force, changes)
            get_run_logger().info(work.why)
            _rename(f"{reason}: {work.why}")
            if not work.due and unsent:
                raise CommandFailedError(f"{work.why}, but what earlier runs decided is not sent: {unsent}")
            if not work.due:
                return Completed(name="Skipped", message=work.why)
            try:
                return _night(reason, force, changes, limit_minutes, work)
            except RunCancelledError as cancelled:
                return Cancelled(message=str(cancelled))
            finally:
                if pending():
                    record.abandon()


def _night(
    reason: str, force: Stage | None, changes: list[str], limit: float | None, work: triggers.Work
) -> State[None]:
    if work.difference.summary():
        show_table(work.difference.table(), "source-changes", f"What changed in the sources: {work.why}")
    equipped(load_params(paths.PARAMS))
    _stages({*([force] if force else []), *unseen(work.difference)}, limit)
    return _conclude(reason, work, changes)


def _rename(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), name=name)


def _stages(forced: set[str], limit_minutes: float | None) -> None:
    rows: list[dict[str, Any]] = []
    try:
        run_chain(rows, 0, limit_minutes, forced)
    finally:
        create_table_artifact(table=rows, key="stages", description="What each stage did")


def _conclude(reason: str, work: triggers.Work, overrides: list[str]) -> State[None]:
    """Judge, promote or not, record, send, tell."""
    verdict = judge()
    broken: SmokeTestError | None = None
    with record.undone():
        if verdict.promoted:
            try:
                promote()
            except SmokeTestError as error:
                broken, verdict = error, Verdict(False, f"the champion stays: {error}", verdict.tests, verdict.adapter)
        entry = record.conclude(verdict, reason, work, overrides)
    try:
        record.deliver(entry)
    finally:
        record.show(entry)
    if broken is not None:
        raise broken
    notify.notify(entry.outcome, f"{entry.why}. {entry.reason}")
    return Completed(name=entry.outcome.capitalize(), message=entry.reason)

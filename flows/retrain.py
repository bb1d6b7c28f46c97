"""The nightly flow: new images become a challenger, and the better of two LoRAs is the champion."""

from dataclasses import replace
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from anime_lora.config import paths
from anime_lora.config.load import load_params
from flows.champion import record
from flows.champion.compare import compare_with_champion
from flows.champion.preflight import check_changes_and_disk, check_git, check_remote_and_gpu, preflight
from flows.champion.promote import promote
from flows.champion.triggers import Stage, Work, find_work
from flows.champion.undo import discard_undecided_override, undo_on_failure
from flows.errors import CommandFailedError, RunCancelledError, SmokeTestError
from flows.pipeline import run_chain, stages_to_force
from flows.runtime.crashed_runs import mark_crashed_runs
from flows.runtime.lock import run_lock
from flows.runtime.notify import notify, notify_failure
from flows.runtime.overrides import override_params
from tasks.artifacts import show_table


def run_name() -> str:
    """What started the run; what is new follows when it is known."""
    return str(flow_run.parameters.get("reason", "by hand"))


@flow(
    name="retrain",
    flow_run_name=run_name,
    persist_result=False,
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
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
        mark_crashed_runs()
        # In this order: an override of a killed run is taken back before params.yaml is checked, and what others pushed
        # is merged before the sources are compared with models/sources.jsonl.
        check_git()
        unsent = record.settle_earlier_runs()
        preflight()
        check_changes_and_disk(load_params(paths.PARAMS), record.COMMITTED)
        changes = list(overrides or [])
        with override_params(changes):
            if changes:
                preflight()  # they may name other sources
            work = find_work(force, changes)
            get_run_logger().info(work.why)
            _rename_run(f"{reason}: {work.why}")  # Prefect names a run before its first line runs
            if not work.due:
                return skip(work, unsent)
            try:
                with discard_undecided_override():
                    return _train_and_decide(reason, force, changes, limit_minutes, work)
            except RunCancelledError as error:
                return Cancelled(message=str(error))


def skip(work: Work, unsent: str | None) -> State[None]:
    """The state Skipped of a run without work.

    Args:
        work: why there is none.
        unsent: why what earlier runs decided cannot be sent; None: all is sent.

    Raises:
        CommandFailedError: something is not sent, which a run that ends well every morning would hide.
    """
    if unsent:
        raise CommandFailedError(f"{work.why}, but what earlier runs decided is not sent: {unsent}")
    return Completed(name="Skipped", message=work.why)


def _train_and_decide(
    reason: str, force: Stage | None, changes: list[str], limit_minutes: float | None, work: Work
) -> State[None]:
    if work.changes.summary():
        show_table(work.changes.table(), "source-changes", f"What changed in the sources: {work.why}")
    check_remote_and_gpu(load_params(paths.PARAMS))
    run_chain(0, limit_minutes, {*([force] if force else []), *stages_to_force(work.changes)})
    verdict = compare_with_champion()
    failed: SmokeTestError | None = None
    with undo_on_failure():
        if verdict.promoted:
            try:
                promote()
            except SmokeTestError as error:
                failed, verdict = error, replace(verdict, promoted=False, reason=f"the champion stays: {error}")
        entry = record.record_decision(verdict, reason, work, changes)
    try:
        record.deliver(entry)
    finally:  # the decision stands once it is committed, sent or not
        record.show_decision(entry)
    if failed is not None:
        raise failed
    notify(entry.outcome, f"{entry.why}. {entry.reason}")
    return Completed(name=entry.outcome.capitalize(), message=entry.reason)


def _rename_run(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), name=name)

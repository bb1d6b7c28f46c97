"""Runs of this folder whose process died: nobody tells the server, so the next one who gets the folder does."""

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from flows.runtime.lock import RUNS
from flows.runtime.notify import notify

MESSAGE = "the process of this run ended without a word (killed, or the machine went down); its folder is free again"
SILENT = "no sign of life"
"""So begins the message of a run that the automation has marked: the server runs no hooks, so nobody was told."""


def mark_orphans(runs: Path = RUNS) -> list[str]:
    """Set the runs that left their sign behind to Crashed, with their tasks, and tell of them; returns their names.

    Call it only while holding the run lock: that nobody else works in the folder is what proves them dead.
    """
    left = [sign for sign in runs.glob("*") if sign.name != flow_run.id]
    if not left:
        return []
    with get_client(sync_client=True) as client:
        names = [name for name in (_mark(client, UUID(sign.name)) for sign in left) if name]
    for sign in left:
        sign.unlink()
    for name in names:
        notify("failed", f"{name}: {MESSAGE}")
    return names


def _mark(client: SyncPrefectClient, run_id: UUID) -> str | None:
    """Name of the run when nobody was told of its end; None when the server does not know it or knows another end."""
    try:
        run = client.read_flow_run(run_id)
    except ObjectNotFound:
        return None
    if run.state is None:
        return None
    marked = run.state.is_crashed() and (run.state.message or "").startswith(SILENT)
    if run.state.is_final() and not marked:
        return None
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    for task_run in client.read_task_runs(flow_run_filter=only):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message=MESSAGE), force=True)
    if not marked:
        client.set_flow_run_state(run_id, Crashed(message=MESSAGE), force=True)
    return run.name

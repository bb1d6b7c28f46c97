"""Runs of this folder whose process died: nothing reports that to the server, so the next holder of the folder does."""

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from flows.runtime.lock import ACTIVE_RUNS
from flows.runtime.notify import notify

MESSAGE = "the process of this run was killed, or the machine went down; its folder is free again"
NO_HEARTBEAT = "no sign of life"
"""So begins the message of a run that the automation has marked: the server runs no hooks, so nobody was notified."""


def mark_crashed_runs(active_runs: Path = ACTIVE_RUNS) -> list[str]:
    """Set runs that ended without removing their file to Crashed, with their tasks, and notify; returns their names.

    To be called by the holder of the run lock: that no other run works in the folder is what proves them dead.
    """
    left = [file for file in active_runs.glob("*") if file.name != flow_run.id]
    if not left:
        return []
    with get_client(sync_client=True) as client:
        names = [name for name in (_mark(client, UUID(file.name)) for file in left) if name]
    for file in left:
        file.unlink()
    for name in names:
        notify("failed", f"{name}: {MESSAGE}")
    return names


def _mark(client: SyncPrefectClient, run_id: UUID) -> str | None:
    """Name of the run when its end is news; None when the server does not know it or knows another end."""
    try:
        run = client.read_flow_run(run_id)
    except ObjectNotFound:
        return None
    if run.state is None:
        return None
    marked = run.state.is_crashed() and (run.state.message or "").startswith(NO_HEARTBEAT)
    if run.state.is_final() and not marked:
        return None
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    for task_run in client.read_task_runs(flow_run_filter=only):
        if task_run.state is not None and not task_run.state.is_final():
            # Forced: the server's rules may reject or delay a transition, and nobody would try again.
            client.set_task_run_state(task_run.id, Crashed(message=MESSAGE), force=True)
    if not marked:
        client.set_flow_run_state(run_id, Crashed(message=MESSAGE), force=True)
    return run.name

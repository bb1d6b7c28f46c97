"""What the server does by itself: a run without heartbeats becomes Crashed, and people are notified.

No hook of the flow runs then. The server itself sends through the Prefect block that `ANIME_LORA_NOTIFY` names; it
does not know webhooks, so for one `flows.runtime.crashed_runs` notifies at the next start.
"""

import os
from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, SendNotification
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.errors import PreflightError
from flows.runtime.crashed_runs import NO_HEARTBEAT
from flows.runtime.notify import SETTING
from flows.runtime.prefect_internals import HEARTBEAT_EVENT, RUN_EVENT

NAME = "anime-lora: no heartbeat"
MISSED = 3
"""So many heartbeats in a row must be missing."""
FINAL_STATES = ("Completed", "Skipped", "Promoted", "Rejected", "Failed", "Cancelled", "Crashed")
"""Names of the states a run ends in, each of which names an event: `flows.retrain` ends in states of its own."""


def heartbeat_automation(seconds: int, block: UUID | None = None) -> AutomationCore:
    """The automation that marks a run Crashed whose heartbeats stopped before it ended.

    Args:
        seconds: between two heartbeats.
        block: notification block to send through.
    """
    within = timedelta(seconds=MISSED * seconds)
    message = f"{NO_HEARTBEAT} for {within.total_seconds():.0f} s: its process or its machine is gone"
    body = "{{ flow_run.name }}: " + message
    notifications = [SendNotification(block_document_id=block, subject="anime-lora failed", body=body)] if block else []
    return AutomationCore(
        name=NAME,
        description=f"A run that gave no sign of life for {within.total_seconds():.0f} s is taken for dead.",
        trigger=EventTrigger(
            after={HEARTBEAT_EVENT},
            expect={HEARTBEAT_EVENT, *(f"{RUN_EVENT}{state}" for state in FINAL_STATES)},
            match={"prefect.resource.id": f"{RUN_EVENT}*"},
            for_each={"prefect.resource.id"},  # a clock for each run, not one for all
            posture=Posture.Proactive,  # acts when what is expected does not happen
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", force=False, message=message),
            *notifications,
        ],
    )


def install_automations() -> str:
    """Put the automation on the server or bring it up to date; one that people switched off stays off.

    Raises:
        PreflightError: heartbeats are switched off, or `ANIME_LORA_NOTIFY` names a block that is not there.
    """
    seconds = get_current_settings().flows.heartbeat_frequency
    if seconds is None:
        raise PreflightError("PREFECT_FLOWS_HEARTBEAT_FREQUENCY is empty: set it to seconds between heartbeats, say 60")
    with get_client(sync_client=True) as client:
        automation = heartbeat_automation(seconds, _notification_block(client))
        known = client.read_automations_by_name(NAME)
        for installed in known:
            client.update_automation(installed.id, automation.model_copy(update={"enabled": installed.enabled}))
        if not known:
            client.create_automation(automation)
    return f"{NAME}: a run counts as Crashed after {MISSED * seconds} s without one"


def _notification_block(client: SyncPrefectClient) -> UUID | None:
    target = os.environ.get(SETTING)
    if not target or target.startswith(("http://", "https://")):
        return None
    kind, _, name = target.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        raise PreflightError(
            f"{SETTING}: no block {target} on the server: make it there, or correct the name"
        ) from None

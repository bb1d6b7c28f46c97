"""What the server does by itself: a run without a sign of life becomes Crashed, and people hear of it.

No hook of the flow runs then. The server itself tells through the Prefect block that `ANIME_LORA_NOTIFY` names;
of a webhook it knows nothing, so `flows.runtime.crashed_runs` tells it at the next start.
"""

import os
from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, SendNotification
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.champion.preflight import PreflightError
from flows.runtime.crashed_runs import SILENT
from flows.runtime.notify import SETTING

NAME = "anime-lora: no heartbeat"
MISSED = 3
"""So many heartbeats in a row must be missing."""
ENDS = ("Completed", "Skipped", "Promoted", "Rejected", "Failed", "Cancelled", "Crashed")
"""Names of the states a run ends in: the event bears the name, and a run may end under a name of its own."""


def heartbeat_automation(seconds: int, block: UUID | None = None) -> AutomationCore:
    """Marks a run Crashed whose heartbeats, one each `seconds`, stopped before it ended; `block` tells people."""
    beat = "prefect.flow-run.heartbeat"
    within = timedelta(seconds=MISSED * seconds)
    message = f"{SILENT} for {within.total_seconds():.0f} s: its process or its machine is gone"
    body = "{{ flow_run.name }}: " + message
    tells = [SendNotification(block_document_id=block, subject="anime-lora failed", body=body)] if block else []
    return AutomationCore(
        name=NAME,
        description=f"A run that gave no sign of life for {within.total_seconds():.0f} s is taken for dead.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{end}" for end in ENDS)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", force=False, message=message),
            *tells,
        ],
    )


def install() -> str:
    """Put the automation on the server or bring it up to date; one that people switched off stays off.

    Raises:
        PreflightError: heartbeats are switched off, or `ANIME_LORA_NOTIFY` names a block that is not there.
    """
    seconds = get_current_settings().flows.heartbeat_frequency
    if seconds is None:
        raise PreflightError("PREFECT_FLOWS_HEARTBEAT_FREQUENCY is empty: set it to seconds between heartbeats, say 60")
    with get_client(sync_client=True) as client:
        wanted = heartbeat_automation(seconds, _block(client))
        known = client.read_automations_by_name(NAME)
        for automation in known:
            client.update_automation(automation.id, wanted.model_copy(update={"enabled": automation.enabled}))
        if not known:
            client.create_automation(wanted)
    return f"{NAME}: a run counts as Crashed after {MISSED * seconds} s without one"


def _block(client: SyncPrefectClient) -> UUID | None:
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

"""What the server does by itself: a run without a sign of life becomes Crashed, so that hooks and people hear of it."""

from datetime import timedelta

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import get_current_settings

from flows.preflight import PreflightError

NAME = "anime-lora: no heartbeat"
MISSED = 3
"""So many heartbeats in a row must be missing."""
ENDS = ("Completed", "Skipped", "Promoted", "Rejected", "Failed", "Cancelled", "Crashed")
"""Names of the states a run ends in: the event bears the name, and a run may end under a name of its own."""


def heartbeat_automation(seconds: int) -> AutomationCore:
    """Marks a run Crashed whose heartbeats, one each `seconds`, stopped before it ended."""
    beat = "prefect.flow-run.heartbeat"
    within = timedelta(seconds=MISSED * seconds)
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
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                force=False,
                message=f"no sign of life for {within.total_seconds():.0f} s: its process or its machine is gone",
            )
        ],
    )


def install() -> str:
    """Put the automation on the server or bring it up to date; one that people switched off stays off.

    Raises:
        PreflightError: heartbeats are switched off.
    """
    seconds = get_current_settings().flows.heartbeat_frequency
    if seconds is None:
        raise PreflightError("PREFECT_FLOWS_HEARTBEAT_FREQUENCY is empty: set it to seconds between heartbeats, say 60")
    wanted = heartbeat_automation(seconds)
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(NAME)
        for automation in known:
            client.update_automation(automation.id, wanted.model_copy(update={"enabled": automation.enabled}))
        if not known:
            client.create_automation(wanted)
    return f"{NAME}: a run counts as Crashed after {MISSED * seconds} s without one"

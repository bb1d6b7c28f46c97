"""The nightly deployment, served from this folder: its schedule, and runs that people start from the UI."""

import sys
from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import EntrypointType  # type: ignore[attr-defined]
from prefect.schedules import Cron, Schedule
from pydantic import ValidationError
from tzlocal import get_localzone_name

from flows.errors import PreflightError, RunLockedError
from flows.retrain import retrain
from flows.runtime.automations import install_automations
from flows.runtime.crashed_runs import mark_crashed_runs
from flows.runtime.lock import run_lock

NAME = "nightly"


def serve(cron: str | None, timezone: str | None, limit: int = 1) -> None:
    """Register the deployment and run what is due, until interrupted; the schedule outlives this process.

    One run at a time: what comes due meanwhile waits here and finds, in seconds, that nothing is new. No limit
    on the deployment itself: its leases live in the server's memory, and a server that restarts would crash the run.
    What people paused in the UI stays paused.

    Args:
        cron: when; it replaces the schedule of an earlier `serve`. None: only when asked from the UI; that one goes.
        timezone: of `cron`, such as Europe/Berlin; None: this machine's.
        limit: runs at once. More than one in one folder are refused by the run lock.
    """
    install_automations()
    with suppress(RunLockedError), run_lock():  # locked: the run there is alive
        for name in mark_crashed_runs():
            print(f"marked Crashed, its process is gone: {name}", file=sys.stderr)
    known = read_deployment()
    paused = known is not None and known.paused
    active = known is None or all(schedule.active for schedule in known.schedules)
    if known and not cron:
        delete_schedules(known)
    if cron and (paused or not active):
        print("paused in the UI: nothing starts by the schedule until it is resumed there", file=sys.stderr)
    retrain.serve(
        name=NAME,
        schedule=_schedule(cron, timezone, active) if cron else None,
        paused=paused,
        limit=limit,
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
        print_starting_message=False,
    )


def check_schedule(cron: str | None, timezone: str | None) -> None:
    """Check that Prefect can read the schedule.

    Raises:
        PreflightError: it names which of the two is wrong.
    """
    if cron is not None:
        try:
            CronSchedule(cron=cron, timezone=timezone)
        except ValidationError as error:
            reasons = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
            raise PreflightError(f'{reasons}: write for example --cron "0 3 * * *" --timezone Europe/Berlin') from None


def read_deployment() -> DeploymentResponse | None:
    """The deployment as an earlier `serve` and people in the UI left it on the server."""
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        return client.read_deployment_by_name(f"{retrain.name}/{NAME}")
    return None


def delete_schedules(deployment: DeploymentResponse) -> None:
    """Delete every schedule of the deployment: Prefect leaves them as they are when it is given none."""
    with get_client(sync_client=True) as client:
        for schedule in deployment.schedules:
            client.delete_deployment_schedule(deployment.id, schedule.id)


def _schedule(cron: str, timezone: str | None, active: bool) -> Schedule:
    zone = timezone or get_localzone_name()
    return Cron(cron, timezone=zone, parameters={"reason": "schedule"}, active=active)

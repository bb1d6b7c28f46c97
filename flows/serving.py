"""The nightly deployment, served from this folder: its schedule, and runs that people start from the UI."""

import sys
from contextlib import suppress

from prefect.flows import EntrypointType  # type: ignore[attr-defined]
from prefect.schedules import Cron
from tzlocal import get_localzone_name

from flows import automations
from flows.lock import RunLockedError, run_lock
from flows.orphans import mark_orphans
from flows.retrain import retrain

NAME = "nightly"


def serve(cron: str | None, timezone: str | None, limit: int = 1) -> None:
    """Register the deployment and run what is due, until interrupted; the schedule outlives this process.

    One run at a time: what comes due meanwhile waits here and finds, in seconds, that nothing is new. No limit
    on the deployment itself: its leases live in the server's memory, and a server that restarts would crash the run.

    Args:
        cron: when; None: only when asked from the UI.
        timezone: of `cron`, such as Europe/Berlin; None: this machine's.
        limit: runs at once. More than one in one folder are refused by the run lock.
    """
    automations.install()
    with suppress(RunLockedError), run_lock():  # locked: the run there is alive
        for name in mark_orphans():
            print(f"marked Crashed, its process is gone: {name}", file=sys.stderr)
    zone = timezone or get_localzone_name()
    retrain.serve(
        name=NAME,
        schedule=Cron(cron, timezone=zone, parameters={"reason": "schedule"}) if cron else None,
        limit=limit,
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
        print_starting_message=False,
    )

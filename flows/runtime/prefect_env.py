"""Prefect's environment for this project: database in `.prefect/`, no telemetry, which server, loopback only.

Set before Prefect is imported, since it reads its settings once.
"""

import json
import os
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from flows.errors import PreflightError
from flows.runtime.prefect_internals import HEARTBEAT_EVENT

HOST, PORT = "127.0.0.1", 4200
TIMEOUT = 10.0
"""Seconds that a health request may take; a busy server needs some."""
HOME = Path(".prefect")
SERVER_RECORD = HOME / "server.json"
"""Address of the server that `python -m flows ui` started; removed when it ended regularly."""
NO_TELEMETRY = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}
"""Seconds between two heartbeats of a run; three times as long without one, and the automation marks it Crashed."""
RETENTION = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 86400),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps({HEARTBEAT_EVENT: 86400}),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
}
"""What a server that stays deletes: runs, logs and artifacts after 90 days, events after 7, heartbeats after one.

Without these a nightly run adds some 3 MB of images to the database, for ever.
"""
EPHEMERAL_SERVER = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def set_prefect_environment(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> str:
    """Set what the environment leaves open; returns a phrase for people that says which server will be used.

    `PREFECT_API_URL` wins; then a server started by `python -m flows ui`; else one that lives as long as the run.
    """
    for name, value in {**NO_TELEMETRY, **HEARTBEAT, "PREFECT_HOME": str(HOME.resolve())}.items():
        environment.setdefault(name, value)
    if environment.get("PREFECT_API_URL"):
        return f"the server at {environment['PREFECT_API_URL']}"
    running = running_server()
    if running:
        environment["PREFECT_API_URL"] = running
        return f"the server at {running}"
    for name, value in EPHEMERAL_SERVER.items():
        environment.setdefault(name, value)
    return "a server of its own, for this run"


def set_server_environment(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> None:
    """Set what a server that stays needs; `PREFECT_SERVER_DATABASE_CONNECTION_URL` selects PostgreSQL."""
    set_prefect_environment(environment)
    for name, value in RETENTION.items():
        environment.setdefault(name, value)


def require_server() -> str:
    """Address of the server that stays when this process ends.

    Raises:
        PreflightError: there is none, or it does not answer.
    """
    server = set_prefect_environment()
    address = os.environ.get("PREFECT_API_URL")
    if address is None:
        raise PreflightError(
            "no Prefect server runs here: start one with `make ui` in another terminal, or set PREFECT_API_URL"
        )
    if not is_healthy(address):
        raise PreflightError(f"{server} does not answer: start it, or correct PREFECT_API_URL")
    return address


def check_no_server() -> None:
    """Check that no server of this project runs: two on one SQLite database block each other.

    Raises:
        PreflightError: this project's own server answers.
    """
    running = running_server()
    if running:
        raise PreflightError(f"this project's server runs already: {running.removesuffix('/api')}")


def running_server(record: Path = SERVER_RECORD) -> str | None:
    """API address of this project's own UI server, when it answers."""
    try:
        address: str = json.loads(record.read_text(encoding="utf-8"))["api"]
    except (OSError, ValueError, KeyError):
        return None
    return address if is_healthy(address) else None


def is_healthy(address: str) -> bool:
    """Whether a Prefect API answers at `address`."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=TIMEOUT) as response:
            return bool(response.status == 200)
    except HTTPError as error:
        return error.code in {401, 403}  # it asks for a key, which Prefect's client sends
    except (OSError, ValueError):
        return False

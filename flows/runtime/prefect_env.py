"""Where Prefect lives for this project: its database in `.prefect/`, no telemetry, loopback only.

Set before Prefect is imported, since it reads its settings once.
"""

import json
import os
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from flows.champion.preflight import PreflightError

HOST, PORT = "127.0.0.1", 4200
TIMEOUT = 10.0
"""Seconds a server may take to say that it is well; a busy one takes some."""
HOME = Path(".prefect")
SERVER = HOME / "server.json"
"""Address of the server that `python -m flows ui` started; gone when it ended well."""
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}
"""Seconds between two signs of life of a run; three without one and the automation marks it Crashed."""
LONG_LIVED = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 86400),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps({"prefect.flow-run.heartbeat": 86400}),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
}
"""What a server forgets: runs with their logs and artifacts after 90 days, events after 7, heartbeats after one.

Without these a nightly run adds some 3 MB of images to the database, for ever.
"""
LOCAL = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> str:
    """Fill in what the environment leaves open; returns in words which server will be used.

    `PREFECT_API_URL` wins; then a server started by `python -m flows ui`; else one that lives as long as the run.
    """
    for name, value in {**QUIET, **HEARTBEAT, "PREFECT_HOME": str(HOME.resolve())}.items():
        environment.setdefault(name, value)
    if environment.get("PREFECT_API_URL"):
        return f"the server at {environment['PREFECT_API_URL']}"
    running = running_server()
    if running:
        environment["PREFECT_API_URL"] = running
        return f"the server at {running}"
    for name, value in LOCAL.items():
        environment.setdefault(name, value)
    return "a server of its own, for this run"


def prepare_server(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> None:
    """Fill in what a server that lives long needs; `PREFECT_SERVER_DATABASE_CONNECTION_URL` makes it use PostgreSQL."""
    prepare(environment)
    for name, value in LONG_LIVED.items():
        environment.setdefault(name, value)


def require_server() -> str:
    """Address of the server that stays when this process ends.

    Raises:
        PreflightError: there is none, or it does not answer.
    """
    words = prepare()
    address = os.environ.get("PREFECT_API_URL")
    if address is None:
        raise PreflightError(
            "no Prefect server runs here: start one with `make ui` in another terminal, or set PREFECT_API_URL"
        )
    if not answers(address):
        raise PreflightError(f"{words} does not answer: start it, or correct PREFECT_API_URL")
    return address


def refuse_second_server() -> None:
    """Two servers on one SQLite database lock each other out, and the second one's end would hide the first.

    Raises:
        PreflightError: this project's own server answers.
    """
    running = running_server()
    if running:
        raise PreflightError(f"this project's server runs already: {running.removesuffix('/api')}")


def running_server(record: Path = SERVER) -> str | None:
    """API address of this project's own UI server, when it answers."""
    try:
        address: str = json.loads(record.read_text(encoding="utf-8"))["api"]
    except (OSError, ValueError, KeyError):
        return None
    return address if answers(address) else None


def answers(address: str) -> bool:
    """Whether a Prefect API at `address` says that it is well."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=TIMEOUT) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        return error.code in {401, 403}  # it is there, and Prefect knows the key that it asks for
    except (OSError, ValueError):
        return False

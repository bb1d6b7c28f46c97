"""Where Prefect lives for this project: its database in `.prefect/`, no telemetry, loopback only.

Set before Prefect is imported, since it reads its settings once.
"""

import json
import os
import urllib.request
from pathlib import Path

HOST, PORT = "127.0.0.1", 4200
HOME = Path(".prefect")
SERVER = HOME / "server.json"
"""Address of the server that `python -m flows ui` started; gone when it ended well."""
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
LOCAL = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> str:
    """Fill in what the environment leaves open; returns in words which server will be used.

    `PREFECT_API_URL` wins; then a server started by `python -m flows ui`; else one that lives as long as the run.
    """
    for name, value in {**QUIET, "PREFECT_HOME": str(HOME.resolve())}.items():
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


def running_server(record: Path = SERVER) -> str | None:
    """API address of this project's own UI server, when it answers."""
    try:
        address: str = json.loads(record.read_text(encoding="utf-8"))["api"]
        with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:
            return address if answer.status == 200 else None
    except (OSError, ValueError, KeyError):
        return None

"""Which Prefect server a command uses, and what it says where there is none or one too many."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anime_lora.files import write_json
from flows import cli
from flows.errors import PreflightError
from flows.runtime import prefect_env
from flows.serve import check_schedule

CLOSED = "http://127.0.0.1:9/api"
"""Nothing listens on the port that discards."""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a command fills in is gone with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def well(request: pytest.FixtureRequest) -> Iterator[str]:
    """The API address of a server that answers with this code that it is well."""
    code: int = request.param

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("well", "there"), [(200, True), (401, True), (404, False), (503, False)], indirect=["well"])
def test_a_server_that_asks_for_a_key_is_one(well: str, there: bool) -> None:
    assert prefect_env.is_healthy(well) == there
    assert not prefect_env.is_healthy(CLOSED)


@pytest.mark.parametrize("command", ["run", "retrain"])
def test_a_server_that_does_not_answer_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", CLOSED)
    monkeypatch.setattr(cli, "preflight", lambda: None)
    ran = CliRunner().invoke(cli.app, [command])
    assert (ran.exit_code, ran.output) == (
        1, f"failed: the server at {CLOSED} does not answer: start it, or correct PREFECT_API_URL\n",
    )  # fmt: skip


@pytest.mark.parametrize("well", [200], indirect=True)
def test_a_second_server_on_the_same_database_is_refused(
    well: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end would take the first one's address away, and runs would no more be seen there."""
    monkeypatch.chdir(tmp_path)
    write_json(prefect_env.SERVER_RECORD, {"api": well})
    ran = CliRunner().invoke(cli.app, ["ui", "--port", "1"])
    assert (ran.exit_code, ran.output) == (
        1, f"failed: this project's server runs already: {well.removesuffix('/api')}\n",
    )  # fmt: skip
    assert prefect_env.running_server() == well


@pytest.mark.parametrize(("cron", "timezone", "says"), [
    ("3 am", None, 'Invalid cron string: "3 am"'), ("0 3 * * *", "Europe/Berln", 'Invalid timezone: "Europe/Berln"'),
])  # fmt: skip
def test_a_schedule_that_cannot_be_read_is_one_line(cron: str, timezone: str | None, says: str) -> None:
    with pytest.raises(PreflightError, match=says):
        check_schedule(cron, timezone)
    check_schedule("0 3 * * *", "Europe/Berlin")

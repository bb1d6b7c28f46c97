"""What `serve` leaves on the server, whoever served or paused the deployment before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import serve

THREE = "0 3 * * *"


@pytest.fixture(autouse=True)
def here(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder nobody works in, and a runner that returns at once."""

    async def start(*_: object, **__: object) -> None:
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Runner, "start", start)
    with temporary_settings({PREFECT_API_URL: server}):
        yield
        with get_client(sync_client=True) as client:
            client.delete_deployment(served(None).id)


def served(cron: str | None) -> DeploymentResponse:
    serve.serve(cron, "Etc/UTC")
    found = serve.read_deployment()
    assert found is not None
    return found


def crons(deployment: DeploymentResponse) -> list[str]:
    return [schedule.schedule.cron for schedule in deployment.schedules]  # type: ignore[union-attr]


def test_without_a_cron_the_schedule_of_an_earlier_serve_is_gone() -> None:
    assert crons(served(THREE)) == [THREE]
    assert crons(served("0 4 * * *")) == ["0 4 * * *"]
    assert crons(served(None)) == []


def test_a_paused_deployment_stays_paused(capsys: pytest.CaptureFixture[str]) -> None:
    made = served(THREE)
    assert not made.paused
    with get_client(sync_client=True) as client:
        client.pause_deployment(made.id)
    assert served(THREE).paused
    assert "paused in the UI" in capsys.readouterr().err


def test_a_paused_schedule_stays_paused(capsys: pytest.CaptureFixture[str]) -> None:
    made = served(THREE)
    with get_client(sync_client=True) as client:
        client.update_deployment_schedule(made.id, made.schedules[0].id, active=False)
    (kept,) = served("0 4 * * *").schedules
    assert not kept.active
    assert "paused in the UI" in capsys.readouterr().err

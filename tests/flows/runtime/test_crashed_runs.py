"""Runs whose process died: marked by the next start or by the server, and somebody is told."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Running, State

from flows.errors import PreflightError
from flows.runtime import automations, notify
from flows.runtime.crashed_runs import MESSAGE, NO_HEARTBEAT, mark_crashed_runs
from tests.support.nightly import webhook
from tests.support.service import START, wait_until

pytestmark = pytest.mark.slow  # a Prefect server


@flow
def retrain() -> None:
    """Never called: a name for runs."""


@pytest.fixture
def client(server: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as found:
        yield found


def left_behind(client: SyncPrefectClient, runs: Path, state: State[None], name: str) -> FlowRun:
    """A run in this state whose sign is still there."""
    run = client.create_flow_run(retrain, name=name)
    client.set_flow_run_state(run.id, state, force=True)
    (runs / str(run.id)).touch()
    return run


def test_somebody_is_told_of_every_run_that_died(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One taken for alive, one that the automation has marked; not one that ended otherwise, nor one long deleted."""
    dead = left_behind(client, tmp_path, Running(), "dead")
    marked = left_behind(client, tmp_path, Crashed(message=f"{NO_HEARTBEAT} for 180 s"), "marked")
    left_behind(client, tmp_path, Completed(), "completed")
    (tmp_path / str(uuid4())).touch()
    with webhook() as (address, received):
        monkeypatch.setenv(notify.SETTING, address)
        assert sorted(mark_crashed_runs(tmp_path)) == ["dead", "marked"]
        assert mark_crashed_runs(tmp_path) == []
    posted = [{"event": "failed", "text": f"anime-lora failed: {name}: {MESSAGE}"} for name in ("dead", "marked")]
    assert sorted(received, key=lambda one: str(one["text"])) == posted
    states = [client.read_flow_run(run.id).state for run in (dead, marked)]
    assert [state is not None and state.is_crashed() for state in states] == [True, True]


def test_the_automation_tells_through_the_block_that_the_setting_names(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook is none of the server's; a block that is missing is said at once."""
    monkeypatch.setenv(notify.SETTING, "https://example.org/secret")
    automations.install_automations()
    (only,) = client.read_automations_by_name(automations.NAME)
    assert [action.type for action in only.actions] == ["change-flow-run-state"]
    monkeypatch.setenv(notify.SETTING, "custom-webhook/dead-runs")
    with pytest.raises(PreflightError, match="no block custom-webhook/dead-runs"):
        automations.install_automations()
    Webhook(name="nights", url="http://127.0.0.1:9", json_data={"text": "{{body}}"}).save("dead-runs")
    automations.install_automations()
    (only,) = client.read_automations_by_name(automations.NAME)
    assert [action.type for action in only.actions] == ["change-flow-run-state", "send-notification"]
    client.delete_automation(only.id)


def test_the_server_tells_by_itself_of_a_run_without_heartbeats(client: SyncPrefectClient) -> None:
    """One heartbeat, then none."""
    with webhook() as (address, received):
        hook = Webhook(name="nights", url=address, json_data={"event": "{{subject}}", "text": "{{body}}"})
        made = client.create_automation(automations.heartbeat_automation(4, hook.save("silent-runs")))
        run = client.create_flow_run(retrain, name="silent")
        client.set_flow_run_state(run.id, Running(), force=True)
        time.sleep(3)  # the server's triggers learn of the automation
        emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
        wait_until(lambda: bool(received), START, "nobody was told")
    client.delete_automation(made)
    message = f"{NO_HEARTBEAT} for 12 s: its process or its machine is gone"
    assert received == [{"event": "anime-lora failed", "text": f"silent: {message}"}]
    state = client.read_flow_run(run.id).state
    assert state is not None
    assert (state.type, state.message) == (StateType.CRASHED, message)

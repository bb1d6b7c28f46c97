"""The nightly service as people run it: a real server, the served deployment, its schedule, a browser.

Each test goes on where the last ended, in one project on one server.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.house.doors import STAGES
from tests.support import prefect_ui
from tests.support.project import Project
from tests.support.service import RUN, START, Process, Service, alive, kill, wait_until

pytestmark = pytest.mark.slow
ENDLESS = ["train.epochs=100000"]
LONG = ["train.epochs=60"]
"""Long enough to be killed after the first checkpoint, short enough to be finished by the next run."""
GONE = 10.0
"""Seconds after which no process of a cancelled stage may live."""


class Services:
    """What runs now; tests replace what they kill."""

    def __init__(self, nightly: Service) -> None:
        self.nightly = nightly
        self.server: Process = nightly.server()
        self.runner: Process = nightly.serve("--cron", "* * * * *")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    project = Project(tmp_path_factory.mktemp("nightly") / "project").build()
    with Service(project) as nightly:
        yield Services(nightly)


def cancel(nightly: Service, run: str) -> None:
    """Ask as the page's button does; no process of the stage lives `GONE` seconds later."""
    nightly.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    gone(nightly)


def gone(nightly: Service) -> None:
    """Wait until no process of a stage is left, at most `GONE` seconds."""
    asked = time.monotonic()
    wait_until(lambda: not nightly.workers(), GONE, "a process of the stage lives", nightly.log)
    print(f"no process of the stage {time.monotonic() - asked:.1f} s after the cancel")


def said(nightly: Service, run: str) -> str:
    """The run's whole log, as its page shows it."""
    lines: list[str] = []
    only = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    while page := nightly.api("logs/filter", {**only, "offset": len(lines)}):
        lines += [one["message"] for one in page]
    return "\n".join(lines)


def checkpoints(nightly: Service) -> set[Path]:
    """Every checkpoint there is; those of other values lie in other folders."""
    return set((nightly.project.root / ".cache").rglob("checkpoints/step-*"))


def test_a_run_of_the_schedule_completes_with_its_artifacts(services: Services) -> None:
    nightly = services.nightly
    by_schedule = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    wait_until(lambda: bool(nightly.api("flow_runs/filter", by_schedule)), RUN, "no run completed", nightly.log)
    first = nightly.api("flow_runs/filter", {**by_schedule, "sort": "START_TIME_ASC"})[0]
    nightly.api(f"deployments/{first['deployment_id']}", {"paused": True}, method="PATCH")
    assert first["auto_scheduled"]
    assert first["name"].startswith("schedule: ")
    only = {"flow_runs": {"id": {"any_": [first["id"]]}}}
    tasks = {run["name"]: run["state_type"] for run in nightly.api("task_runs/filter", only)}
    assert {name: tasks[name] for name in STAGES} == dict.fromkeys(STAGES, "COMPLETED")
    kinds = {one["key"]: one["type"] for one in nightly.api("artifacts/filter", only)}
    assert {"stages": "table", "training-images": "image", "verdict": "markdown"}.items() <= kinds.items()


@pytest.mark.skipif(prefect_ui.missing() is not None, reason=prefect_ui.missing() or "")
def test_the_run_is_seen_completed_in_a_browser(services: Services, tmp_path: Path) -> None:
    """The pages show its name, state, tasks, log and artifacts, and an image is shown, not a broken frame."""
    nightly = services.nightly
    done = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "sort": "START_TIME_ASC"}
    run = nightly.api("flow_runs/filter", done)[0]
    image = {"artifacts": {"key": {"any_": ["training-images"]}}}
    artifact = nightly.api("artifacts/filter", image)[0]
    with prefect_ui.chromium() as driver:
        driver.get(f"{nightly.url}/runs/flow-run/{run['id']}")
        prefect_ui.until(driver, run["name"], run["state_name"], "Finished in state")
        driver.save_screenshot(str(tmp_path / "run.png"))
        prefect_ui.open_tab(driver, "Task Runs")
        prefect_ui.until(driver, *STAGES)
        prefect_ui.open_tab(driver, "Artifacts")
        prefect_ui.until(driver, "decision", "stages")
        driver.get(f"{nightly.url}/artifacts/artifact/{artifact['id']}")
        prefect_ui.until(driver, "training-images")
        shown = "return [...document.images].some(one => one.src.startsWith('data:image') && one.naturalWidth > 100)"
        wait_until(lambda: bool(driver.execute_script(shown)), prefect_ui.WAIT, "no image")


@pytest.mark.parametrize("way", ["command", "page"])
def test_a_cancelled_run_leaves_no_process_and_the_next_one_succeeds(services: Services, way: str) -> None:
    nightly = services.nightly
    run = nightly.ask(reason="to be cancelled", overrides=ENDLESS)
    nightly.until_training()
    if way == "command":
        asking = nightly.start("prefect", "flow-run", "cancel", run)
        wait_until(lambda: nightly.run(run)["state_type"] != "RUNNING", START, "the command did nothing", nightly.log)
        gone(nightly)
        assert asking.wait(60) == 0
    else:
        cancel(nightly, run)
    assert nightly.wait(run)["state_type"] == "CANCELLED"
    assert "epochs: 1 " in (nightly.project.root / "params.yaml").read_text(), "the override stayed"
    assert nightly.wait(nightly.ask(force="evaluate"))["state_type"] == "COMPLETED"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda sign: sign.name)
def test_a_cancel_ends_the_run_after_the_server_was_restarted(services: Services, end: signal.Signals) -> None:
    """Prefect's runner learns of it late or, after a server that closed its sockets regularly, never."""
    nightly = services.nightly
    run = nightly.ask(reason="outlives its server", overrides=ENDLESS)
    nightly.until_training()
    kill(services.server, end)
    services.server = nightly.server()
    cancel(nightly, run)
    assert nightly.wait(run)["state_type"] == "CANCELLED"
    assert "epochs: 1 " in (nightly.project.root / "params.yaml").read_text(), "the override stayed"


def test_a_run_by_hand_is_cancelled_too(services: Services) -> None:
    """`python -m flows run` has no runner that could learn of it."""
    nightly = services.nightly
    nightly.project.set("train.epochs", 100000)
    by_hand = nightly.start("flows", "run")
    nightly.until_training()
    run = nightly.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]["id"]
    cancel(nightly, run)
    assert nightly.wait(run)["state_type"] == "CANCELLED"
    assert by_hand.wait(60) == 1
    assert "failed: train: the run was cancelled" in nightly.log()
    only = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = {one["name"]: one["state_type"] for one in nightly.api("task_runs/filter", only)}
    assert tasks["train"] == "CANCELLED"
    assert not set(STAGES[STAGES.index("train") + 1 :]) & set(tasks)
    nightly.project.run("git", "checkout", "-q", "params.yaml", "dvc.lock")


def test_a_server_killed_under_a_run_comes_back_and_the_next_run_finishes(services: Services) -> None:
    nightly = services.nightly
    longer = ["train.epochs=40"]
    run = nightly.ask(reason="loses its server", overrides=longer)
    nightly.until_training()
    kill(services.server)
    services.server = nightly.server()
    print(f"the run that lost its server ended as {nightly.wait(run)['state_name']}")
    assert nightly.wait(nightly.ask(force="evaluate", overrides=longer))["state_type"] == "COMPLETED"


def test_a_run_whose_process_died_is_marked_crashed_by_the_next_start_and_goes_on_in_the_next_run(
    services: Services,
) -> None:
    """Runner, run and stage die at once, as when the machine goes down."""
    nightly = services.nightly
    before = checkpoints(nightly)
    run = nightly.ask(reason="dies", overrides=LONG)
    wait_until(lambda: bool(checkpoints(nightly) - before), RUN, "no checkpoint", nightly.log)
    dying = nightly.processes()
    for process in (*dying, services.runner):
        process.send_signal(signal.SIGKILL)
    services.runner.wait()
    assert nightly.run(run)["state_type"] == "RUNNING"
    services.runner = nightly.serve()
    ended = nightly.wait(run, seconds=60)
    assert (ended["state_type"], "killed" in ended["state"]["message"]) == ("CRASHED", True)
    only = {"flow_runs": {"id": {"any_": [run]}}}
    assert "RUNNING" not in {one["state_type"] for one in nightly.api("task_runs/filter", only)}
    again = nightly.ask(overrides=LONG)
    assert nightly.wait(again)["state_type"] == "COMPLETED"
    assert "going on from step" in said(nightly, again)


def test_one_heartbeat_automation_is_on_the_server_however_often_it_is_installed(services: Services) -> None:
    nightly = services.nightly
    assert "180 s" in nightly.command("flows", "install-automations")
    (only,) = nightly.api("automations/filter")
    assert (only["enabled"], only["trigger"]["posture"], only["trigger"]["within"]) == (True, "Proactive", 180.0)


def test_the_automation_marks_a_run_crashed_whose_process_was_killed(services: Services) -> None:
    """Nobody starts or looks: the server alone misses the heartbeats. Prefect's shortest interval is 30 s."""
    nightly = services.nightly
    nightly.settings["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    assert "90 s" in nightly.command("flows", "install-automations")
    nightly.project.set("train.epochs", 100000)
    by_hand = nightly.start("flows", "run")
    nightly.until_training()
    run = nightly.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]["id"]
    for process in (*psutil.Process(by_hand.pid).children(recursive=True), by_hand):
        process.send_signal(signal.SIGKILL)
    by_hand.wait()
    killed = time.monotonic()
    ended = nightly.wait(run, seconds=300)
    print(f"marked {ended['state_name']} {time.monotonic() - killed:.0f} s after the kill")
    assert (ended["state_type"], "no sign of life for 90 s" in ended["state"]["message"]) == ("CRASHED", True)


def test_a_service_manager_that_ends_the_pages_ends_their_server(services: Services) -> None:
    """It tells the one process that it started."""
    services.server.terminate()
    services.server.wait(60)
    wait_until(lambda: not alive(services.server.pid), GONE, "the server lives", services.nightly.log)
    assert not (services.nightly.project.root / ".prefect" / "server.json").exists()

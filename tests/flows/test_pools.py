"""prefect.yaml on a real server: its deployments fit their pools, and a worker runs the one for a process pool."""

from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.runtime.prefect_env import HEARTBEAT
from tests.house.doors import ROOT, STAGES
from tests.support.project import Project
from tests.support.service import Service

pytestmark = pytest.mark.slow
TYPES = ("process", "docker", "kubernetes")
WORKER = YAML(typ="safe", pure=True).load((ROOT / "compose.yaml").read_text())["services"]["worker"]["command"]


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    project = Project(tmp_path_factory.mktemp("pools") / "project").build()
    settings = {
        "ANIME_LORA_FOLDER": str(project.root),
        "ANIME_LORA_IMAGE": "registry.example/anime-lora:1",
        "ANIME_LORA_REPOSITORY": "https://git.example/anime-lora.git",
    }
    with Service(project, **settings) as running:
        running.server()
        for kind in TYPES:
            running.command("prefect", "work-pool", "create", f"anime-lora-{kind}", "--type", kind)
        running.command("prefect", "--no-prompt", "deploy", "--all")
        yield running


def deployment(nightly: Service, name: str) -> dict[str, Any]:
    return next(one for one in nightly.deployments() if one["name"] == name)


@pytest.mark.parametrize("kind", TYPES)
def test_a_deployment_is_in_its_pool_on_its_schedule_with_settings_the_pool_knows(nightly: Service, kind: str) -> None:
    made = deployment(nightly, f"nightly-{kind}")
    pool = nightly.api(f"work_pools/{made['work_pool_name']}", method="GET")
    assert pool["type"] == kind
    assert set(made["job_variables"]) <= set(pool["base_job_template"]["variables"]["properties"])
    assert [one["schedule"]["cron"] for one in made["schedules"]] == ["0 3 * * *"]
    assert made["concurrency_limit"] is None
    assert {"reason", "force", "overrides", "limit_minutes"} == set(made["parameter_openapi_schema"]["properties"])
    assert "{{ $" not in f"{made['pull_steps']} {made['job_variables']}", "a setting was not filled in"


def test_the_worker_of_compose_completes_a_night_in_its_folder(nightly: Service) -> None:
    made = deployment(nightly, "nightly-process")
    run = nightly.api(f"deployments/{made['id']}/create_flow_run", {"parameters": {"reason": "pool"}})["id"]
    nightly.start(*WORKER[2:])
    ended = nightly.wait(run)
    assert ended["state_type"] == "COMPLETED", nightly.log()
    assert ended["state_name"] in {"Promoted", "Rejected"}
    only = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = {one["name"]: one["state_type"] for one in nightly.api("task_runs/filter", only)}
    assert {name: tasks[name] for name in STAGES} == dict.fromkeys(STAGES, "COMPLETED")
    assert "pool" in nightly.project.run("git", "show", "HEAD:models/history.jsonl").stdout
    assert beats(nightly, run) >= ended["total_run_time"] // int(HEARTBEAT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])


def beats(nightly: Service, run: str) -> int:
    """How many signs of life the run gave; the first one at its start."""
    named = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return int(nightly.api("events/filter", {"filter": named})["total"])

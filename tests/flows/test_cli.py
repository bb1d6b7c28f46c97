"""What a person sees who made a mistake: one message, an exit code, nothing half-written."""

import json
import urllib.request
from typing import Any

import pytest

from anime_lora.errors import EXIT_CODE, AnimeLoraError
from flows import errors
from tests.house.doors import STAGES
from tests.support.project import Project


def test_every_error_of_a_run_has_one_of_two_roots() -> None:
    """So the commands catch two classes, and a new error needs no entry in a list."""
    names = [name for name in errors.__all__ if name != "ROOTS"]
    assert len(names) == 8
    assert all(issubclass(getattr(errors, name), errors.RunError) for name in names)
    assert (AnimeLoraError, errors.RunError) == errors.ROOTS
    assert str(errors.__doc__).count("Error  ") == len(names)


def flow_fails(project: Project, *says: str) -> dict[str, str]:
    """Run the flow; it must fail with these words and without a traceback."""
    states, said = project.flow(check=False)
    assert "failed: " in said
    for words in says:
        assert words in said
    assert "Traceback" not in said
    return states


def newest(server: str, what: str) -> dict[str, Any]:
    """The flow or task run that ended last on the server."""
    body = json.dumps({"sort": "END_TIME_DESC", "limit": 1}).encode()
    request = urllib.request.Request(f"{server}/{what}/filter", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        (found,) = json.load(answer)
    return dict(found)


def test_a_failing_stage_stops_the_chain_with_its_reason(broken: Project, server: str) -> None:
    """People read the reason where it failed: at the command, on the task's page, on the run's."""
    broken.environment["PREFECT_API_URL"] = server
    broken.set("validate.min_images", 500)
    reason = "12 valid images, fewer than validate.min_images = 500"
    states = flow_fails(broken, f"validate: {reason}")
    task, run = newest(server, "task_runs"), newest(server, "flow_runs")
    assert (task["name"], run["id"]) == ("validate", task["flow_run_id"])
    assert reason in task["state"]["message"]
    assert f"validate: {reason}" in run["state"]["message"]
    assert states == {"ingest": "Completed", "validate": "Failed"}
    made = {path.name for path in (broken.root / "data").iterdir() if path.is_dir()}
    assert made & set(STAGES) == {"ingest"}


@pytest.mark.parametrize(("key", "value", "says"), [
    ("ingest.sources", ["nowhere"], "ingest.sources: nowhere does not exist"),
    ("train.rnak", 4, "train.rnak"),
    ("train.rank", 0, "train.rank"),
    ("validate_sample.strengths", [0.2, 0.8], "leaves no denoising step"),
])  # fmt: skip
def test_a_wrong_parameter_stops_before_anything_starts(broken: Project, key: str, value: object, says: str) -> None:
    broken.set(key, value)
    assert flow_fails(broken, says) == {}
    assert [path.name for path in (broken.root / "data").iterdir()] == ["none"]


def test_a_base_that_is_not_there_is_one_error(broken: Project) -> None:
    broken.set("base.model", "no/such/base")
    for stage in ("ingest", "validate", "resize", "organize"):
        broken.run("python", "-m", "anime_lora", stage)
    ran = broken.run("python", "-m", "anime_lora", "train", check=False)
    assert ran.returncode == EXIT_CODE
    assert "error: " in ran.stdout
    assert "no/such/base" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert not (broken.root / "data" / "train").exists()


def test_an_empty_source_is_one_error(broken: Project) -> None:
    (broken.root / "empty").mkdir()
    broken.set("ingest.sources", ["empty"])
    ran = broken.run("python", "-m", "anime_lora", "ingest", check=False)
    assert (ran.returncode, "Traceback" in ran.stdout) == (EXIT_CODE, False)
    assert "no image in empty" in ran.stdout
    assert not (broken.root / "data" / "ingest").exists()


def test_outside_a_repository_the_flow_says_what_to_do(broken: Project) -> None:
    (broken.root / ".git").rename(broken.root.parent / "git")
    flow_fails(broken, "git init")

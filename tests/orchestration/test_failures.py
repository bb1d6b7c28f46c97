"""What a person sees who made a mistake: one message, an exit code, nothing half-written."""

import pytest
from house.doors import STAGES

from anime_lora.errors import EXIT_CODE
from orchestration.project import Project


def flow_fails(project: Project, *says: str) -> dict[str, str]:
    """Run the flow; it must fail with these words and without a traceback."""
    states, said = project.flow(check=False)
    assert "failed: " in said
    for words in says:
        assert words in said
    assert "Traceback" not in said
    return states


def test_a_failing_stage_stops_the_chain_with_its_reason(broken: Project) -> None:
    broken.set("validate.min_images", 500)
    states = flow_fails(broken, "validate: 12 valid pictures, fewer than validate.min_images = 500")
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
    assert not (broken.root / "data").exists()


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
    assert "no picture in empty" in ran.stdout
    assert not (broken.root / "data" / "ingest").exists()


def test_outside_a_repository_the_flow_says_what_to_do(broken: Project) -> None:
    (broken.root / ".git").rename(broken.root.parent / "git")
    flow_fails(broken, "git init")

"""Which stages run after which change, by `dvc repro` and by the flow. Each test goes on where the last ended."""

from anime_lora.data.organize import split_of
from anime_lora.files import sha256_file
from tests.house.doors import STAGES
from tests.support.project import Project

NEW = 51
HEAVY = ["train", "validate-sample", "evaluate"]


def test_the_flow_completes_seven_tasks_and_dvc_then_finds_nothing_to_do(project: Project) -> None:
    states, said = project.flow()
    assert states == dict.fromkeys(STAGES, "Completed")
    assert "report.html" in said
    lock = project.lock()
    assert project.repro() == []
    assert project.lock() == lock


def test_a_second_flow_finds_all_cached(project: Project) -> None:
    lock = project.lock()
    states, _ = project.flow()
    assert states == dict.fromkeys(STAGES, "Cached")
    assert project.lock() == lock


def test_a_comment_reruns_nothing(project: Project) -> None:
    path = project.root / "params.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert project.repro() == []


def test_an_evaluate_key_reruns_evaluate(project: Project) -> None:
    project.set("evaluate.bootstrap", 120)
    assert project.repro() == ["evaluate"]


def test_the_rank_reruns_training_and_what_follows(project: Project) -> None:
    project.set("train.rank", 3)
    assert project.repro() == HEAVY


def test_where_the_work_is_done_reruns_nothing(project: Project) -> None:
    project.set("compute.workers", 2)
    assert project.repro() == []


def test_a_new_image_runs_all_and_only_it_is_decoded_and_resized(project: Project) -> None:
    project.add(NEW)
    name = sha256_file(project.root / "faces" / f"{NEW:03d}.png")
    assert split_of(name, "v1", 0.3) == "train", "held out: training would not change"
    said = project.run("dvc", "repro").stdout
    assert [stage for stage in STAGES if f"Running stage '{stage}'" in said] == list(STAGES)
    assert "ingest: 13 files, 13 taken, 0 rejected, 1 made anew" in said
    assert "resize: 13 images, 1 made anew, 12 reused" in said


def test_after_dvc_the_flow_finds_all_cached(project: Project) -> None:
    states, _ = project.flow()
    assert states == dict.fromkeys(STAGES, "Cached")


def test_going_back_restores_from_the_cache_without_running(project: Project) -> None:
    project.set("train.rank", 2)
    (project.root / "faces" / f"{NEW:03d}.png").unlink()
    (project.root / "faces" / f"{NEW:03d}.txt").unlink()
    project.set("evaluate.bootstrap", 100)
    assert project.repro() == []


def test_an_experiment_overrides_one_value(project: Project) -> None:
    said = project.run("dvc", "exp", "run", "-S", "train.rank=1").stdout
    assert [stage for stage in STAGES if f"Running stage '{stage}'" in said] == HEAVY

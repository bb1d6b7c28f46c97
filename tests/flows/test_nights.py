"""Nights with locks, kills and overrides; and one in which nothing is faked."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from anime_lora.files import sha256_file, write_json
from tests.support.nightly import Nightly
from tests.support.project import Project

pytestmark = pytest.mark.slow
HOLDER = """
import sys, time
from dvc.repo import Repo
with Repo().lock:
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
"""


WAIT = 1800.0
"""Seconds after which something hangs, also where others have the processors."""
RUNNING: "list[subprocess.Popen[bytes]]" = []


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """What a failed test leaves running must not work beside the next one."""
    yield
    while RUNNING:
        process = RUNNING.pop()
        process.terminate()
        process.wait(WAIT)


def started(project: Project, *words: str, log: str = "night.log") -> "subprocess.Popen[bytes]":
    """A command in the background, its output in a file."""
    with (project.root.parent / log).open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=project.root, env=project.outside(), stdout=stream, stderr=stream
        )
    RUNNING.append(process)
    return process


def wait_for(project: Project, words: str, log: str = "night.log") -> None:
    """Until the background command has said so."""
    deadline = time.monotonic() + WAIT
    while words not in (project.root.parent / log).read_text(errors="replace"):
        assert time.monotonic() < deadline, (project.root.parent / log).read_text(errors="replace")
        time.sleep(0.1)


def processes(project: Project, *words: str) -> list[psutil.Process]:
    """Processes in the project's folder with these words in their command."""
    running = psutil.process_iter(["cmdline", "cwd"])
    here = [process for process in running if process.info["cwd"] == str(project.root)]
    return [process for process in here if set(words) <= set(process.info["cmdline"] or ())]


def test_dvcs_lock_held_while_a_stage_ends_does_no_harm(nightly: Nightly) -> None:
    """Somebody else's DVC command holds the lock for 5 s when training ends; the night waits and completes."""
    nightly.next_training(seconds=4)
    night = started(nightly, "-m", "flows", "retrain")
    wait_for(nightly, "Running stage 'train'")
    holder = started(nightly, "-c", HOLDER, "9", log="holder.log")
    wait_for(nightly, "held", log="holder.log")
    assert night.poll() is None
    assert night.wait(WAIT) == 0
    assert holder.wait(WAIT) == 0
    assert "Promoted" in (nightly.root.parent / "night.log").read_text()


def test_an_override_that_loses_leaves_only_its_line(nightly: Nightly) -> None:
    """params.yaml, dvc.lock and the outputs are those of HEAD; the history says what was tried."""
    before = (nightly.root / "params.yaml").read_bytes(), nightly.lock()
    nightly.next_training(quality=-0.1)
    assert "Rejected" in nightly.retrain("-S", "train.rank=3")
    assert ((nightly.root / "params.yaml").read_bytes(), nightly.lock()) == before
    assert nightly.history()[-1]["overrides"] == ["train.rank=3"]
    assert nightly.clean()
    assert nightly.repro() == []


def test_an_override_whose_run_fails_leaves_nothing(nightly: Nightly) -> None:
    """What it trained is not data/ any more, and the next night has nothing to decide."""
    before = (nightly.root / "params.yaml").read_bytes(), nightly.lock(), nightly.history()
    nightly.next_training(blind=True)
    assert "failed: evaluate: nobody looks" in nightly.retrain("-S", "train.rank=5", check=False)
    assert ((nightly.root / "params.yaml").read_bytes(), nightly.lock(), nightly.history()) == before
    assert nightly.clean()
    assert nightly.repro() == []
    assert "Skipped: no new data" in nightly.retrain()


def test_an_override_that_wins_is_committed_with_its_champion(nightly: Nightly) -> None:
    """The commit that names the new champion holds the params that made it."""
    nightly.next_training(quality=0.1)
    assert "Promoted" in nightly.retrain("-S", "train.rank=4")
    assert "  rank: 4 " in nightly.run("git", "show", "HEAD:params.yaml").stdout
    assert nightly.clean()
    assert nightly.repro() == []


def test_a_stage_may_be_forced(nightly: Nightly) -> None:
    """It runs though nothing changed; the same file again is no challenger."""
    said = nightly.retrain("--force", "train")
    assert "Running stage 'train'" in said
    assert "the champion stays: training gave the same file again" in said
    assert nightly.history()[-1]["why"] == "train forced"


@pytest.mark.parametrize("victim", ["flow", "stage"])
def test_after_a_kill_the_next_night_finishes(nightly: Nightly, victim: str) -> None:
    """SIGKILL of the flow or of its training: the next night takes the same images and completes."""
    nightly.add(300 + len(nightly.history()))
    nightly.next_training(quality=0.2, seconds=15)
    head = nightly.head()
    night = started(nightly, "-m", "flows", "retrain")
    wait_for(nightly, "Running stage 'train'")
    time.sleep(3)
    if victim == "flow":
        night.send_signal(signal.SIGKILL)
    else:
        for process in processes(nightly, "anime_lora", "train"):
            os.kill(process.pid, signal.SIGKILL)
    assert night.wait(WAIT) != 0
    assert nightly.head() == head
    nightly.next_training(quality=0.2 if victim == "flow" else 0.3)
    assert "Promoted" in nightly.retrain()
    assert nightly.history()[-1]["why"] == "images: 1 added"
    assert nightly.clean()


def test_a_promotion_that_was_not_committed_is_put_back_and_decided_anew(nightly: Nightly) -> None:
    """As after a SIGKILL between publishing and committing: HEAD's champion returns, then the night goes on."""
    before, entries = nightly.champion(), nightly.history()
    nightly.add(400)
    nightly.next_training(quality=-0.2)
    for name in nightly.champion():
        (nightly.root / "models" / "champion" / name).unlink()
    shutil.copy(nightly.root / "lora.safetensors", nightly.root / "models/champion/pytorch_lora_weights.safetensors")
    nightly.run(sys.executable, "-m", "dvc", "add", "-q", "models/champion")
    write_json(nightly.root / "models" / "history.jsonl", {})
    assert "Rejected" in nightly.retrain()
    assert nightly.champion() == before
    assert nightly.history()[:-1] == entries


def test_a_fresh_clone_goes_on_from_the_remotes(nightly: Nightly) -> None:
    """Another machine clones and pulls: champion and trained LoRA are the same files, though no source is there."""
    clone = Project(nightly.root.parent / "clone", **nightly.environment)
    nightly.run("git", "clone", "-q", "../origin.git", "../clone")
    clone.run(sys.executable, "-m", "dvc", "pull", "-q")
    for folder in ("models/champion", "data/train"):
        file = f"{folder}/pytorch_lora_weights.safetensors"
        assert sha256_file(clone.root / file) == sha256_file(nightly.root / file)


def test_a_night_in_which_nothing_is_faked(tmp_path: Path, server: str) -> None:
    """Real training, generating and measuring: the decision is recorded, and a killed training goes on where it was."""
    project = Project(tmp_path / "project", PREFECT_API_URL=server).build()
    for setting in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        project.run("git", "config", *setting)
    for key, value in {"train.epochs": 8, "train.checkpoint_every": 2, "train.validation_images": 1}.items():
        project.set(key, value)
    project.run("git", "commit", "-qam", "Train longer")
    night = started(project, "-m", "flows", "retrain")
    wait_for(project, "Running stage 'train'")
    while not list((project.root / ".cache").rglob("checkpoints/step-*")):
        assert night.poll() is None, (project.root.parent / "night.log").read_text()
        time.sleep(0.05)
    for process in processes(project, "anime_lora", "train"):
        os.kill(process.pid, signal.SIGKILL)
    assert night.wait(WAIT) != 0
    said = project.run(sys.executable, "-m", "flows", "retrain").stdout
    assert "going on from step" in said
    assert "going on from step 0 " not in said
    history = (project.root / "models" / "history.jsonl").read_text()
    assert '"outcome": "promoted"' in history or '"outcome": "rejected"' in history
    assert project.repro() == []
    generated = project.run(
        sys.executable, "-m", "anime_lora", "check-adapter", "data/train/pytorch_lora_weights.safetensors"
    ).stdout
    assert "finite" in generated
    again = project.run(sys.executable, "-m", "anime_lora", "rematch", "data/train", ".cache/again").stdout
    scores = (project.root / ".cache/again/evaluate/scores.json").read_text()
    assert scores == (project.root / "data/evaluate/scores.json").read_text(), again

"""SIGKILL at random moments of each data stage: the next run gives the same bytes and makes only what was lost."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from anime_lora.executors import QUEUED
from tests.data.conftest import ROOT, Project, image

IMAGES, SIDE = 100, 640
KILLS = 20
WORKERS = 2
STAGES = ("ingest", "validate", "resize", "organize")
DATA = Path("data")


def start(stage: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "anime_lora", stage], stdout=subprocess.PIPE, text=True)


def run(stage: str) -> str:
    with start(stage) as process:
        said, _ = process.communicate()
    assert process.returncode == 0
    return said


def kill(process: subprocess.Popen[str]) -> None:
    """End it by SIGKILL; none of the processes that it started lives for 5 s more."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs(children, timeout=5)[1], "a process outlived the stage"


def done(stage: str) -> int:
    """Images that the cache shows to be done: files where the stage makes some, else values of its memo."""
    cache = Path(".cache", stage)
    if stage != "validate":
        return len(list(cache.rglob("[0-9a-f]" * 64 + ".png")))
    return sum('"pixels"' in line for file in cache.glob("*.jsonl") for line in file.read_text().splitlines())


def wait_until(process: subprocess.Popen[str], stage: str, moments: random.Random, longest: float) -> None:
    """Until a random number of images is done; of organize, which has none to do one by one, a random time."""
    if stage == "organize":
        time.sleep(moments.uniform(0.2, 1) * longest)
        return
    number = moments.randrange(IMAGES)
    while process.poll() is None and done(stage) < number:
        time.sleep(0.002)


@pytest.fixture
def stages(project: Project) -> Project:
    """A project of `IMAGES` images with its settings, and all stages done."""
    for number in range(IMAGES):
        image(number, SIDE).save(project.source / f"{number:03d}.png")
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["ingest"]["sources"] = ["source"]
    settings["compute"]["workers"] = WORKERS
    Path("params.yaml").write_text(json.dumps(settings), encoding="utf-8")
    for stage in STAGES:
        run(stage)
    return project


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_moment_costs_what_the_workers_were_at(
    stages: Project, tree: Callable[[Path], dict[str, bytes]], stage: str
) -> None:
    before = tree(DATA)
    moments = random.Random(STAGES.index(stage))
    all_done = all_reused = killed = 0
    longest = 0.0
    for number in range(KILLS + 1):
        shutil.rmtree(Path(".cache", stage), ignore_errors=True)
        shutil.rmtree(DATA / stage)
        began = time.monotonic()
        process = start(stage)
        if number == 0:
            process.communicate()
            longest = time.monotonic() - began
            continue
        wait_until(process, stage, moments, longest)
        killed += process.poll() is None
        kill(process)
        there = done(stage) if stage != "organize" else 0
        anew = re.search(r"(\d+) made anew", run(stage))
        reused = IMAGES - int(anew[1]) if anew else 0
        assert tree(DATA) == before
        assert reused >= there - QUEUED * WORKERS, "more was lost than is handed out at once"
        all_done, all_reused = all_done + there, all_reused + reused
    print(f"{stage}: {killed} of {KILLS} kills hit, {all_done} images done before, {all_reused} of them reused")
    assert killed > KILLS // 4, "most kills came too late"
    assert all_reused >= 0.9 * all_done

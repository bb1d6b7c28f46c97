"""The script for a GPU runs on a CPU with small settings, every command of it."""

import os
import subprocess
import sys

import pytest

from tests.house.doors import ROOT

SMALL = {
    "BASE": "pocket",
    "BATCHES": "1",
    "STEPS": "1",
    "PRECISION": "fp32",
    "RESOLUTION": "128",
    "SAMPLING_STEPS": "1",
    "MEMORY": "no",
    "TESTS": "tests/benchmarks",
    "PYTHON": sys.executable,
}


def run_script(**settings: str) -> subprocess.CompletedProcess[str]:
    """`benchmarks/gpu.sh` with `SMALL` and these settings."""
    environment = {**os.environ, **SMALL, **settings, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["benchmarks/gpu.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_part_runs_and_prints_its_figures() -> None:
    """Tests marked gpu, a training step and sampling: each prints its row, and the script succeeds."""
    result = run_script()
    assert result.returncode == 0, result.stdout + result.stderr
    titles = [line for line in result.stdout.splitlines() if line.startswith("## ")]
    assert titles == ["## Tests marked gpu", "## Training step, batch 1", "## Sampling"]
    assert "no tests are marked gpu" in result.stdout
    assert "| median step, s |" in result.stdout
    assert "share of the FLOP floor" in result.stdout
    assert "| batch | images per second |" in result.stdout


def test_a_part_that_fails_does_not_stop_the_others() -> None:
    """With a program that fails in place of Python every part is named as failed, and so is the script."""
    result = run_script(PYTHON="false")
    assert result.returncode == 1
    assert result.stdout.count("failed with exit code 1") == 3

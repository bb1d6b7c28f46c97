"""The benchmark of the data stages runs, with few images."""

import subprocess
import sys

import pytest

from tests.house.doors import ROOT


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.data", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_growth_shows_each_size_anew_again_and_with_more() -> None:
    said = run("growth", "--sizes", "30", "60", "--side", "64")
    assert [line.split(":")[0] for line in said.splitlines()[1:7]] == [
        *("30 anew", "30 again", "30 + 100"),
        *("60 anew", "60 again", "60 + 100"),
    ]
    assert "30 to 60, seconds of all cores grow: ingest" in said


@pytest.mark.slow
def test_speed_compares_every_stage_with_the_bare_loop() -> None:
    pytest.importorskip("datasets")
    said = run("speed", "--images", "30", "--side", "64", "--size", "64", "--rounds", "1")
    for way in ("bare loop: ", "datasets' map: ", "ingest: ", "validate: ", "resize: ", "organize: "):
        assert f"\n{way}" in said

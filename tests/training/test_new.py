"""`anime-lora new`: from a folder of images to params.yaml and a plan, in one command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anime_lora.cli import app
from anime_lora.config.load import load_params
from anime_lora.errors import DatasetError, ParamsError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_base: Path) -> Path:
    """A project on the tiny base, small enough to measure, with a folder of twenty images."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in {
        "model: data/base/pocket ": f"model: {tiny_base} ", "resolution: 256": "resolution: 64",
        "  size: 512": "  size: 64", "  rank: 16": "  rank: 2", "workers: 0": "workers: 1",
        "device: auto": "device: cpu", "holdout_share: 0.1": "holdout_share: 0.3",
    }.items():  # fmt: skip
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / "faces").mkdir()
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (130, 130, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"faces/{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["new", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_one_command_looks_writes_and_plans(project: Path) -> None:
    output = run("faces", "--trigger", "zxyStyle")
    assert "usable images  20" in output
    assert "concept.trigger: myAnimeStyleToken -> zxyStyle" in output
    assert "zxyStyle is 8 tokens" in output
    assert "time in all" in output
    assert output.rstrip().endswith("next: `dvc repro`, or `make run` to watch it in Prefect")
    params = load_params(project / "params.yaml")
    assert (params.ingest.sources, params.concept.trigger) == (("faces",), "zxyStyle")
    assert not (project / "data").exists()
    assert "params.yaml has them all" in run("faces", "--trigger", "zxyStyle", "--no-plan")


def test_a_base_that_is_not_there_is_said_and_the_rest_is_done(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("model: /", "model: /nowhere/"))
    output = run("faces", "--trigger", "zxyStyle")
    assert "images to train on, " in output
    assert "optimizer steps; time and memory are not known: base.model /nowhere/" in output
    assert load_params(project / "params.yaml").concept.trigger == "zxyStyle"


def test_what_does_not_do_is_one_error_and_nothing_is_written(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match=r"concept\.trigger = 'a,b'"):
        run("faces", "--trigger", "a,b")
    for number in range(15):
        (project / f"faces/{number}.png").unlink()
    with pytest.raises(DatasetError, match="5 valid images, fewer than"):
        run("faces", "--trigger", "zxyStyle")
    assert (project / "params.yaml").read_bytes() == before

"""Two processes on the CPU train what one trains."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from anime_lora.errors import TrainingError
from anime_lora.params.document import read_document
from anime_lora.training import launch
from training.tiny import CONCEPT, ROOT, SIDE, train_settings


def project(folder: Path, base: Path, dataset: Path, processes: int) -> None:
    """A project folder in which `python -m anime_lora train` works."""
    document = read_document(ROOT / "params.yaml")
    document["train"] = json.loads(
        train_settings(epochs=2, batch_size=2, gradient_accumulation_steps=1).model_dump_json()
    )
    document["concept"] = CONCEPT.model_dump()
    document["base"] = {"model": str(base), "revision": None, "resolution": SIDE}
    document["compute"] |= {"processes": processes, "device": "cpu"}
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "organize").symlink_to(dataset)
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(document, stream)


def test_two_processes_give_the_adapter_of_one(
    tmp_path: Path, tiny_base: Path, dataset: Path, stage: Callable[..., Path]
) -> None:
    """compute.processes 2, through accelerate's launcher, at the same effective batch: equal within 1e-6."""
    project(tmp_path / "two", tiny_base, dataset, 2)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "anime_lora", "train"],
        cwd=tmp_path / "two",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one = stage(epochs=2, batch_size=2, gradient_accumulation_steps=1)
    two = tmp_path / "two" / "data" / "train"
    first, second = (load_file(out / "pytorch_lora_weights.safetensors") for out in (one, two))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    assert done.stdout.count("published epoch") == 1
    assert not (tmp_path / "two" / ".cache" / "train").exists() or not list(
        (tmp_path / "two" / ".cache" / "train").iterdir()
    )


def test_failing_process_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage says that one of its processes failed, and with what code."""
    monkeypatch.setattr(launch, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(TrainingError, match="one of 2 training processes failed"):
        launch.relaunch(2, "cpu")


def test_signal_reaches_the_processes(tmp_path: Path) -> None:
    """SIGTERM to the stage is passed on, and the stage ends with the code of a polite stop."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from anime_lora.training import launch
child = "import time, signal; signal.signal(15, lambda *_: exit(75)); print('up', flush=True); time.sleep(30)"
launch.command = lambda *_: [sys.executable, "-c", child]
launch.relaunch(2, "cpu")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(20) == 75
    process.stdout.close()

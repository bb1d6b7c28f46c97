"""Two processes on the CPU train what one trains."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from anime_lora.config.load import read_document
from anime_lora.errors import TrainingError
from anime_lora.training import processes
from anime_lora.training.checkpoint import MANIFEST, Checkpoints
from anime_lora.training.processes import STOPPED, Stop, StopRequestedError, sum_gradients
from tests.support.tiny import CONCEPT, ROOT, SIDE, train_settings, write_dataset


def start(folder: Path, base: Path, dataset: Path, **changes: Any) -> subprocess.Popen[str]:
    """`python -m anime_lora train` with two processes, in a project folder made for it."""
    document = read_document(ROOT / "params.yaml")
    document["train"] = json.loads(train_settings(**changes).model_dump_json())
    document["concept"] = CONCEPT.model_dump()
    document["base"] = {"model": str(base), "revision": None, "resolution": SIDE}
    document["compute"] |= {"processes": 2, "device": "cpu"}
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "organize").symlink_to(dataset)
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(document, stream)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    stage = [sys.executable, "-m", "anime_lora", "train"]
    with (folder / "errors.txt").open("w") as errors:
        return subprocess.Popen(stage, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9, "prior_images": 2}], ids=str)
def test_two_processes_give_the_adapter_of_one(
    tmp_path: Path, tiny_base: Path, stage: Callable[..., Path], changes: dict[str, Any]
) -> None:
    """compute.processes 2 at the same effective batch: the same visits at each step, the adapter equal within 1e-6.

    Five images in groups of two: in each epoch's last step one process has nothing to do.
    """
    dataset = write_dataset(tmp_path / "organize", count=5)
    settings = {"epochs": 2, "batch_size": 1, "gradient_accumulation_steps": 2, **changes}
    process = start(tmp_path / "two", tiny_base, dataset, **settings)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, (tmp_path / "two" / "errors.txt").read_text()[-3000:]
    assert printed.count("published epoch") == 1
    one, two = stage(organize=dataset, **settings), tmp_path / "two" / "data" / "train"
    rows = [loss_table(out / "plots" / "loss.csv") for out in (one, two)]
    assert len(rows[0]) == 6
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-6, atol=0)
    first, second = (load_file(out / "pytorch_lora_weights.safetensors") for out in (one, two))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    assert not list((tmp_path / "two" / ".cache" / "train").iterdir())


def loss_table(file: Path) -> torch.Tensor:
    """step, epoch, loss and rate of each step, (n, 4) in float64."""
    lines = file.read_text().splitlines()[1:]
    return torch.tensor([[float(field) for field in line.split(",")] for line in lines], dtype=torch.float64)


@pytest.mark.slow
def test_two_processes_stop_politely_and_go_on(tmp_path: Path, tiny_base: Path, dataset: Path) -> None:
    """SIGTERM while two processes train: exit code 75, a checkpoint that verifies, and no process left behind."""
    process = start(tmp_path / "two", tiny_base, dataset, epochs=1000)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 1:"):
            break
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3, "a launcher and two processes"
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert process.returncode == STOPPED, printed + (tmp_path / "two" / "errors.txt").read_text()[-3000:]
    (work,) = (tmp_path / "two" / ".cache" / "train").iterdir()
    newest = max((work / "checkpoints").glob("step-*"))
    fingerprint = json.loads((newest / MANIFEST).read_text())["fingerprint"]
    assert Checkpoints(work, fingerprint, keep=1).verify(newest) is None
    assert printed.count("stopped; run the same command to go on") == 2


def test_failing_process_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage says that one of its processes failed, and with what code."""
    monkeypatch.setattr(processes, "launch_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(TrainingError, match="one of 2 training processes failed"):
        processes.launch(2, "cpu")


def test_the_reason_of_a_failing_process_is_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under what the launcher and the other processes print it would be lost."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from anime_lora.errors import TrainingError
from anime_lora.training import processes
with processes.errors_for_launcher():
    raise TrainingError("no space left")
"""
    monkeypatch.setattr(processes, "launch_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(TrainingError, match=r"one of 2 training processes failed \(exit code 1\): no space left$"):
        processes.launch(2, "cpu")


def test_signal_reaches_the_processes(tmp_path: Path) -> None:
    """SIGTERM to the stage is passed on, and the stage ends with the code of a polite stop."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from anime_lora.training import processes
child = "import time, signal; signal.signal(15, lambda *_: exit(75)); print('up', flush=True); time.sleep(30)"
processes.launch_command = lambda *_: [sys.executable, "-c", child]
processes.launch(2, "cpu")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(20) == 75
    process.stdout.close()


def test_a_signal_after_the_work_is_done_is_no_stop() -> None:
    """The processes finished although a signal was passed on to them: the stage has succeeded."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from anime_lora.training import processes
child = "import time, signal; signal.signal(15, lambda *_: exit(0)); print('up', flush=True); time.sleep(30)"
processes.launch_command = lambda *_: [sys.executable, "-c", child]
processes.launch(2, "cpu")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()


@pytest.mark.parametrize("when", ["while the answer is agreed on", "after it"])
def test_two_processes_stop_at_the_same_step(when: str) -> None:
    """A signal that one of them gets too late for this step is not lost, and stops both at the next."""
    stop = Stop()
    late = [lambda: stop.request(signal.SIGTERM, None)]

    def reduce(whole: torch.Tensor, _: str) -> torch.Tensor:
        if when != "after it" and late:
            late.pop()()
        return whole.clone()

    accelerator = SimpleNamespace(num_processes=2, reduce=reduce)
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    sum_gradients(accelerator, parameters, torch.zeros(()), stop)
    if late:
        late.pop()()
    stop.check()
    sum_gradients(accelerator, parameters, torch.zeros(()), stop)
    with pytest.raises(StopRequestedError):
        stop.check()

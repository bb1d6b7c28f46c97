"""The device: picked by name, checked before anything is loaded, and made reproducible on a CPU."""

from pathlib import Path

import psutil
import pytest
import torch

from anime_lora.diffusion import device as machine
from anime_lora.errors import DeviceError
from tests.support.tiny import train_settings


def available(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")], ids=str
)
def test_auto_is_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str) -> None:
    """CUDA before Apple's GPU before the CPU; what is asked for by name wins."""
    available(monkeypatch, cuda, mps)
    assert machine.pick_device("auto") == best
    assert machine.pick_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """The error names the setting and the way out."""
    available(monkeypatch, cuda=False, mps=False)
    with pytest.raises(DeviceError, match=rf"compute\.device is {device}.*auto or cpu"):
        machine.pick_device(device)


def test_settings_that_a_cpu_cannot_meet_are_errors() -> None:
    """fp16 on a CPU, xformers without CUDA: each error names the way out."""
    with pytest.raises(DeviceError, match=r"fp16 needs a CUDA GPU.*bf16"):
        machine.check_device(train_settings(precision="fp16"), "cpu")
    with pytest.raises(DeviceError, match=r"xformers.*use sdpa"):
        machine.check_device(train_settings(attention="xformers"), "cpu")


def test_what_a_gpu_machine_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """xformers that is not installed, more processes than GPUs, several on mps; CPUs may have any number."""
    monkeypatch.setattr("anime_lora.diffusion.device.find_spec", lambda _: None)
    with pytest.raises(DeviceError, match=r"not installed.*use sdpa"):
        machine.check_device(train_settings(attention="xformers"), "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for device, processes in (("cuda", 3), ("mps", 2)):
        with pytest.raises(DeviceError, match=rf"compute\.processes is {processes}, but {device} has"):
            machine.check_device(train_settings(), device, processes)
    machine.check_device(train_settings(), "cuda", 2)
    machine.check_device(train_settings(), "cpu", 8)


def test_accelerate_can_be_had_anew_with_another_precision() -> None:
    """accelerate itself allows one precision per process."""
    assert machine.new_accelerator(train_settings(precision="bf16"), "cpu").mixed_precision == "bf16"
    assert machine.new_accelerator(train_settings(), "cpu").mixed_precision == "no"


def test_reproducible_kernels_are_asked_for_on_the_cpu_only_and_for_the_block_only() -> None:
    """torch's switches are as they were afterwards, also after an error."""
    with machine.deterministic("cpu"):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with machine.deterministic("cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="x"), machine.deterministic("cpu"):
        raise RuntimeError("x")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_a_process_of_several_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of processes that launchers put into the environment."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not machine.is_launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert machine.is_launched()


def test_memory_is_the_machines_or_less_where_a_container_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit file that says `max`, or none at all, is no limit."""
    physical = psutil.virtual_memory().total
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "memory.max")
    assert machine.memory_total(torch.device("cpu")) == physical
    for text, total in (("max\n", physical), (f"{2**20}\n", 2**20), (f"{2 * physical}\n", physical)):
        machine.CGROUP.write_text(text)
        assert machine.memory_total(torch.device("cpu")) == total


def test_memory_that_was_needed_is_less_than_there_is() -> None:
    """In bytes: a process that has loaded torch needs more than 50 MiB."""
    needed = machine.memory_peak(torch.device("cpu"))
    assert 50 * 2**20 < needed < psutil.virtual_memory().total

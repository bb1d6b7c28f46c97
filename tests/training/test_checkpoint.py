"""Checkpoints are whole or absent, and a damaged one is passed over."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anime_lora.errors import TrainingError
from anime_lora.training import checkpoint
from anime_lora.training.checkpoint import (
    MANIFEST,
    PROGRESS,
    TENSORS,
    Checkpoints,
    SkippedStep,
    StepResult,
    TrainingState,
    room_on_disk,
)
from anime_lora.training.validation import EpochResult

CPU = torch.device("cpu")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, "mark", keep=9)


def save(checkpoints: Checkpoints, step: int, epoch: int = 0) -> Path:
    return checkpoints.save({"weight": torch.full((3,), float(step))}, TrainingState(step=step, epoch=epoch))


def load(checkpoints: Checkpoints) -> TrainingState | None:
    """The newest good checkpoint's state; None when there is none."""
    state = TrainingState()
    return None if checkpoints.load(state, CPU) is None else state


def test_newest_comes_back(checkpoints: Checkpoints) -> None:
    """Of three checkpoints the newest one's tensors and progress return."""
    for step in (1, 2, 10):
        save(checkpoints, step)
    state = TrainingState()
    tensors = checkpoints.load(state, CPU)
    assert tensors is not None
    assert tensors["weight"].tolist() == [10, 10, 10]
    assert state == TrainingState(step=10)


def test_everything_measured_comes_back(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Losses, epochs and skipped steps, with what was not finite as None."""
    (tmp_path / "a.png").write_bytes(b"strip")
    epoch = EpochResult(0, 0, heldout=None, probe=0.25, gap=None, each=[None, 0.1], style=1 / 3)
    losses, skipped = [StepResult(1, 1, None, 1e-4), StepResult(2, 1, 0.1, 5e-5)], [SkippedStep(1, ["x.png"], [7])]
    digest = hashlib.sha256(b"strip").hexdigest()
    state = TrainingState(2, 0, 2, True, 1, losses, [epoch], skipped, {"a.png": digest})
    checkpoints.save({}, state)
    assert load(checkpoints) == state


@pytest.mark.parametrize("name", [TENSORS, PROGRESS, MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_damaged_one_is_passed_over(
    checkpoints: Checkpoints, name: str, damage: str, capsys: pytest.CaptureFixture
) -> None:
    """A checkpoint with a file cut in half, missing or changed gives way to the one before, with a warning."""
    save(checkpoints, 1)
    file = save(checkpoints, 2) / name
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        half = len(content) // 2
        file.write_bytes(content[:half] if damage == "cut" else content[:half] + b"\x00\x01" + content[half + 2 :])
    assert load(checkpoints) == TrainingState(step=1)
    assert "step-00000002 is passed over" in capsys.readouterr().out


def test_other_fingerprint_is_not_used(checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A checkpoint of other params, data or base is no start."""
    save(Checkpoints(tmp_path, "other", keep=9), 1)
    assert load(checkpoints) is None
    assert "other params, data or base" in capsys.readouterr().out


def test_files_and_names_are_on_the_disk_in_the_order_that_counts(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file, the manifest last, then the names of all three, all before the rename; the new name after it."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "rename", lambda source, target: done.append("rename") or rename(source, target))
    save(checkpoints, 1)
    assert done == [PROGRESS, TENSORS, MANIFEST, ".step-00000001.tmp", "rename", "checkpoints"]


def test_half_written_one_is_not_seen(checkpoints: Checkpoints) -> None:
    """What a kill leaves under the temporary name is ignored and overwritten."""
    beside = save(checkpoints, 2).rename(checkpoints.folder / ".step-00000002.tmp")
    (beside / MANIFEST).unlink()
    assert load(checkpoints) is None
    save(checkpoints, 2)
    assert load(checkpoints) is not None


def test_kill_while_a_step_is_saved_again_leaves_one(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each rename the step's only checkpoint, old or new, can be used; afterwards the new one alone is there."""
    rename = Path.rename

    def killed(source: Path, target: Path) -> Path:
        rename(source, target) if source.suffix != ".tmp" else None
        raise KeyboardInterrupt

    save(checkpoints, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                save(checkpoints, 2, epoch=1)
            assert load(checkpoints) == TrainingState(step=2)
    save(checkpoints, 2, epoch=1)
    assert load(checkpoints) == TrainingState(step=2, epoch=1)
    save(checkpoints, 2)
    assert load(checkpoints) == TrainingState(step=2)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000002"]


def names(checkpoints: Checkpoints) -> list[str]:
    return [path.name for path in checkpoints.all()]


def test_old_ones_go_only_when_the_newest_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest two stay; with a damaged newest nothing is deleted."""
    checkpoints = Checkpoints(tmp_path, "mark", keep=2)
    for step in (1, 2, 3):
        save(checkpoints, step)
    assert names(checkpoints) == ["step-00000003", "step-00000002"]
    sync = checkpoint._sync_folder

    def damage(folder: Path) -> None:
        sync(folder)
        for file in checkpoints.folder.glob(f"step-00000004/{TENSORS}"):
            file.write_bytes(b"")

    monkeypatch.setattr(checkpoint, "_sync_folder", damage)
    save(checkpoints, 4)
    assert names(checkpoints) == ["step-00000004", "step-00000003", "step-00000002"]


def test_one_that_was_passed_over_costs_no_new_one(tmp_path: Path) -> None:
    """Steps taken again, below a later checkpoint that could not be used: the new ones are kept, not that one."""
    save(Checkpoints(tmp_path, "mark", keep=1), 9)
    checkpoints = Checkpoints(tmp_path, "mark", keep=1)
    for step in (1, 2):
        save(checkpoints, step)
    assert names(checkpoints) == ["step-00000009", "step-00000002"]


@pytest.mark.parametrize("where", ["torch.save", "os.fsync"])
def test_full_disk_is_one_clear_error(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """No space left: a TrainingError that says what to do, nothing half-written, the last checkpoint good."""
    first = save(checkpoints, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(TrainingError, match="no space left while writing a checkpoint"):
        save(checkpoints, 2)
    monkeypatch.undo()
    assert list(checkpoints.folder.iterdir()) == [first]
    assert checkpoints.verify(first) is None


TINY_DISK = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from anime_lora.errors import TrainingError
from anime_lora.training.checkpoint import Checkpoints, TrainingState
checkpoints = Checkpoints(Path({folder!r}), "mark", keep=2)
first = checkpoints.save({{"weight": torch.zeros(3)}}, TrainingState(step=1))
try:
    checkpoints.save({{"weight": torch.zeros(100_000)}}, TrainingState(step=2))
except TrainingError as error:
    print(error)
print(sorted(path.name for path in checkpoints.folder.iterdir()), checkpoints.verify(first))
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_one_clear_error(tmp_path: Path) -> None:
    """On a file system of 128 KiB: the error says what to do, nothing half-written is left, the last one is good."""
    code = TINY_DISK.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))
    inside = f'mount -t tmpfs -o size=128k tmpfs {tmp_path} && exec {sys.executable} -c "$0"'
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this machine lets no test mount a file system")
    ran = subprocess.run(["unshare", "-rm", "sh", "-c", inside, code], capture_output=True, text=True, check=True)
    message, left = ran.stdout.splitlines()
    assert "no space left while writing a checkpoint" in message
    assert left == "['step-00000001'] None"


def test_other_errors_are_not_called_a_full_disk(tmp_path: Path) -> None:
    """A missing right is not reported as missing space."""
    with pytest.raises(PermissionError), room_on_disk("x", tmp_path):
        raise PermissionError
    shutil.rmtree(tmp_path)

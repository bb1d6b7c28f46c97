"""Checkpoints are whole or absent, and a damaged one is passed over."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anime_lora.errors import TrainingError
from anime_lora.training import checkpoint

CPU = torch.device("cpu")


def save(folder: Path, step: int, mark: str = "mark") -> Path:
    return checkpoint.save(folder, step, mark, {"weight": torch.full((3,), float(step))}, {"step": step})


def test_newest_comes_back(tmp_path: Path) -> None:
    """Of three checkpoints the newest one's tensors and progress return."""
    for step in (1, 2, 10):
        save(tmp_path, step)
    tensors, progress = checkpoint.latest(tmp_path, "mark", CPU)
    assert tensors["weight"].tolist() == [10, 10, 10]
    assert progress == {"step": 10}


@pytest.mark.parametrize("name", ["state.pt", "progress.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_damaged_one_is_passed_over(tmp_path: Path, name: str, damage: str, capsys: pytest.CaptureFixture) -> None:
    """A checkpoint with a file cut in half, missing or changed gives way to the one before, with a warning."""
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        half = len(content) // 2
        file.write_bytes(content[:half] if damage == "cut" else content[:half] + b"\x00\x01" + content[half + 2 :])
    _, progress = checkpoint.latest(tmp_path, "mark", CPU)
    assert progress == {"step": 1}
    assert "step-00000002 is passed over" in capsys.readouterr().out


def test_other_fingerprint_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A checkpoint of other params, data or base is no start."""
    save(tmp_path, 1, "other")
    assert checkpoint.latest(tmp_path, "mark", CPU) is None
    assert "other params, data or base" in capsys.readouterr().out


def test_files_and_names_are_on_the_disk_in_the_order_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file, the manifest last, then the names of all three, all before the rename; the new name after it."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "rename", lambda source, target: done.append("rename") or rename(source, target))
    save(tmp_path, 1)
    beside = [checkpoint.PROGRESS, checkpoint.STATE, checkpoint.MANIFEST, ".step-00000001.tmp"]
    assert done == [*beside, "rename", tmp_path.name]


def test_half_written_one_is_not_seen(tmp_path: Path) -> None:
    """What a kill leaves under the temporary name is ignored and overwritten."""
    beside = save(tmp_path, 2).rename(tmp_path / ".step-00000002.tmp")
    (beside / "MANIFEST.json").unlink()
    assert checkpoint.latest(tmp_path, "mark", CPU) is None
    save(tmp_path, 2)
    assert checkpoint.latest(tmp_path, "mark", CPU) is not None


def test_kill_while_a_step_is_saved_again_leaves_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each rename the step's only checkpoint, old or new, can be used; afterwards the new one alone is there."""
    rename = Path.rename

    def killed(source: Path, target: Path) -> Path:
        rename(source, target) if source.suffix != ".tmp" else None
        raise KeyboardInterrupt

    save(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                checkpoint.save(tmp_path, 2, "mark", {}, {"step": 2, "again": True})
            assert checkpoint.latest(tmp_path, "mark", CPU)[1] == {"step": 2}
    checkpoint.save(tmp_path, 2, "mark", {}, {"step": 2, "again": True})
    assert checkpoint.latest(tmp_path, "mark", CPU)[1] == {"step": 2, "again": True}
    save(tmp_path, 2)
    assert checkpoint.latest(tmp_path, "mark", CPU)[1] == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_old_ones_go_only_when_the_newest_is_good(tmp_path: Path) -> None:
    """Pruning keeps the newest two; with a damaged newest it deletes nothing."""
    for step in (1, 2, 3):
        save(tmp_path, step)
    checkpoint.prune(tmp_path / "step-00000003", 2, "mark")
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-00000003", "step-00000002"]
    newest = save(tmp_path, 4)
    (newest / "state.pt").write_bytes(b"")
    checkpoint.prune(newest, 1, "mark")
    assert len(checkpoint.saved(tmp_path)) == 3


def test_one_that_was_passed_over_costs_no_new_one(tmp_path: Path) -> None:
    """Steps taken again, below a later checkpoint that could not be used: the new ones are kept, not that one."""
    for step in (1, 2, 9):
        save(tmp_path, step)
    checkpoint.prune(tmp_path / "step-00000002", 1, "mark")
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-00000009", "step-00000002"]


@pytest.mark.parametrize("where", ["torch.save", "os.fsync"])
def test_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """No space left: a TrainingError that says what to do, nothing half-written, the last checkpoint good."""
    save(tmp_path, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(TrainingError, match="no space left while writing a checkpoint"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.fault(tmp_path / "step-00000001", "mark") is None


TINY_DISK = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from anime_lora.errors import TrainingError
from anime_lora.training import checkpoint
folder, big = Path({folder!r}), {{"weight": torch.zeros(100_000)}}
checkpoint.save(folder, 1, "mark", {{"weight": torch.zeros(3)}}, {{}})
try:
    checkpoint.save(folder, 2, "mark", big, {{}})
except TrainingError as error:
    print(error)
print(sorted(path.name for path in folder.iterdir()), checkpoint.fault(folder / "step-00000001", "mark"))
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
    with pytest.raises(PermissionError), checkpoint.room_on_disk("x", tmp_path):
        raise PermissionError
    shutil.rmtree(tmp_path)

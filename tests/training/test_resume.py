"""A run that is killed, stopped or changed: the same bytes at the end, or a fresh start."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from anime_lora.errors import TrainingError
from anime_lora.training.batch import Batch, Example
from anime_lora.training.checkpoint import MANIFEST, Checkpoints, StepResult
from anime_lora.training.processes import STOPPED, StopRequestedError
from anime_lora.training.trainer import Trainer
from tests.support.tiny import train_tiny

SETTINGS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 1,
    "gradient_accumulation_steps": 2,
    "checkpoint_every": 1,
    "ema_decay": 0.9,
}
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["anime_lora.training.stage"])


def child(base: Path, dataset: Path, folder: Path, settings: dict[str, Any]) -> None:
    """The stage in a process of its own."""
    torch.set_num_threads(1)
    os.chdir(folder)
    train_tiny(base, dataset, folder, **settings)


def start(base: Path, dataset: Path, folder: Path, settings: dict[str, Any] = SETTINGS) -> ForkServerProcess:
    folder.mkdir(exist_ok=True)
    process = SERVER.Process(target=child, args=(base, dataset, folder, settings))
    process.start()
    return process


def published(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tiny_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every byte that the stage writes when nobody disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(tiny_base, dataset, folder)
    process.join()
    assert process.exitcode == 0
    return published(folder / "train")


def newest_step(folder: Path) -> int:
    found = sorted(folder.glob(".cache/train/*/checkpoints/step-*"))
    return int(found[-1].stem.split("-")[1]) if found else 0


def kill_until_done(base: Path, dataset: Path, folder: Path, kills: int) -> int:
    """Start the stage again and again, killing it `kills` times soon after it has got further; returns the kills."""
    chance, done = random.Random(kills), 0
    while True:
        before, process = newest_step(folder) if folder.exists() else 0, start(base, dataset, folder)
        while process.is_alive() and (done >= kills or newest_step(folder) <= before):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.12))
        if process.is_alive() and done < kills:
            os.kill(process.pid, signal.SIGKILL)
            done += 1
        process.join()
        if process.exitcode == 0:
            return done
        assert process.exitcode == -signal.SIGKILL


def test_killed_twice_gives_the_same_bytes(
    tiny_base: Path, dataset: Path, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    """kill -9 twice within the first steps: every published file is byte-identical."""
    assert kill_until_done(tiny_base, dataset, tmp_path / "run", kills=2) == 2
    assert published(tmp_path / "run" / "train") == uninterrupted


LONG = {**SETTINGS, "epochs": 10, "gradient_accumulation_steps": 1}
"""Six steps in each of ten epochs."""


def kill_at_random(base: Path, dataset: Path, folder: Path, kills: int) -> list[int]:
    """One run, killed at `kills` random moments; returns the newest checkpoint's step at each.

    One in four falls anywhere into the first second, the others a moment after a checkpoint.
    """
    chance, at = random.Random(4), list[int]()
    while True:
        before, process = newest_step(folder), start(base, dataset, folder, LONG)
        if len(at) < kills and len(at) % 4 == 0:
            process.join(timeout=chance.uniform(0, 1))
        elif len(at) < kills:
            while process.is_alive() and newest_step(folder) <= before:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
        if len(at) < kills and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            at.append(newest_step(folder))
        process.join()
        if process.exitcode == 0:
            return at
        assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_one_run_killed_twenty_times_gives_the_same_bytes(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    """kill -9 at twenty random moments of one run, twice within one epoch among them: the same published files."""
    whole = start(tiny_base, dataset, tmp_path / "whole", LONG)
    whole.join()
    assert whole.exitcode == 0
    at = kill_at_random(tiny_base, dataset, tmp_path / "run", kills=20)
    assert len(at) == 20
    per_epoch = [sum(step // 6 == epoch and step % 6 > 0 for step in at) for epoch in range(LONG["epochs"])]
    assert max(per_epoch) >= 2, at
    assert at[-1] > 0
    assert published(tmp_path / "run" / "train") == published(tmp_path / "whole" / "train")


@pytest.mark.slow
def test_killed_twenty_times_gives_the_same_bytes(
    tiny_base: Path, dataset: Path, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    """Over several runs at least twenty random kills, within encoding, steps, saving, validation and publishing."""
    total = 0
    for attempt in range(12):
        folder = tmp_path / f"run-{attempt}"
        total += kill_until_done(tiny_base, dataset, folder, kills=3 + attempt % 5)
        assert published(folder / "train") == uninterrupted
    assert total >= 20


def test_sigterm_saves_and_says_so(
    tiny_base: Path, dataset: Path, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    """SIGTERM: the documented exit code, a checkpoint, nothing published; the next run ends with the same bytes."""
    folder = tmp_path / "run"
    process = start(tiny_base, dataset, folder)
    while newest_step(folder) < 2:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=20)
    assert process.exitcode == STOPPED
    assert not (folder / "train").exists()
    assert 2 <= newest_step(folder) <= 5
    process = start(tiny_base, dataset, folder)
    process.join()
    assert published(folder / "train") == uninterrupted


def test_a_stop_waits_for_its_group_and_for_no_more(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the middle of the second group of four: that group's step is taken and saved, and none after it."""
    trainer = make(batch_size=1, gradient_accumulation_steps=2, heldout_images=0, epochs=4)
    loss, calls = trainer.loss, list[int]()

    def signalled(batch: Batch) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:  # the first image of the second group
            trainer.stop.request(signal.SIGTERM, None)
        return loss(batch)

    monkeypatch.setattr(trainer, "loss", signalled)
    with pytest.raises(StopRequestedError):
        trainer.fit()
    assert (len(calls), trainer.state.step) == (4, 2)
    newest = trainer.checkpoints.all()[0]
    assert newest.name == "step-00000002"
    assert trainer.checkpoints.verify(newest) is None


def interrupted(stage: Callable, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Leave the stage half way, with checkpoints."""
    with monkeypatch.context() as patch:
        patch.setattr("anime_lora.training.stage.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stage(**changes)


def test_changed_params_start_anew_and_say_so(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Another rank does not go on from the old checkpoints; another checkpoint_every does."""
    interrupted(stage, monkeypatch, rank=2)
    capsys.readouterr()
    stage(rank=2, checkpoint_every=7)
    assert "going on from step 6 of 6" in capsys.readouterr().out
    interrupted(stage, monkeypatch, rank=2)
    capsys.readouterr()
    stage(rank=3)
    assert "starting anew" in capsys.readouterr().out


def test_cut_checkpoint_costs_only_its_steps(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With the newest checkpoint cut in half the run goes on from the one before, to the same bytes."""
    whole = published(stage("whole", checkpoint_every=1))
    interrupted(stage, monkeypatch, checkpoint_every=1)
    newest = sorted(Path(".cache/train").glob("*/checkpoints/step-*"))[-1] / "state.pt"
    os.truncate(newest, newest.stat().st_size // 2)
    capsys.readouterr()
    assert published(stage("again", checkpoint_every=1)) == whole
    said = capsys.readouterr().out
    assert "step-00000006 is passed over: state.pt is damaged" in said
    assert "going on from step 5" in said


KINDS = [
    {"optimizer": "prodigy", "learning_rate": 1.0},
    {"optimizer": "adafactor"},
    {"optimizer": "adamw8bit"},
    {"text_encoder_learning_rate": 1e-3, "dropout": 0.5, "shuffle_tags": True, "caption_dropout": 0.2},
    {"ema_decay": 0.9, "dora": True, "prior_images": 2},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_training_goes_on_to_the_same_bytes(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, kind: dict[str, Any]
) -> None:
    """Cut off in the middle of the second epoch: optimizer, text encoder, dropout and class images come back."""
    changes = {"target": "attn", "heldout_images": 1, "validation_steps": 1, "checkpoint_every": 1, **kind}
    whole = published(stage("whole", **changes))
    step = Trainer.step

    def cut_off(trainer: Trainer, group: list[Example]) -> StepResult:
        if trainer.state.step == 4:
            raise KeyboardInterrupt
        return step(trainer, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            stage("again", **changes)
    capsys.readouterr()
    assert published(stage("again", **changes)) == whole
    assert "going on from step 4 of 6" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["epochs/epoch-01.safetensors", "samples/epoch-01.png"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_damaged_file_of_an_epoch_costs_only_that_epoch(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str, damage: str
) -> None:
    """Checkpoints that count on a lost adapter or strip are passed over: the epoch is made again, to the same bytes."""
    changes = {"checkpoint_every": 1, "keep_checkpoints": 9, "validation_steps": 1}
    whole = published(stage("whole", **changes))
    interrupted(stage, monkeypatch, **changes)
    (file,) = Path(".cache/train").glob(f"*/{name}")
    os.truncate(file, 10) if damage == "cut" else file.unlink()
    capsys.readouterr()
    assert published(stage("again", **changes)) == whole
    printed = capsys.readouterr().out
    assert f"step-00000003 is passed over: {name} is missing or damaged" in printed
    assert "going on from step 2" in printed


@pytest.mark.parametrize("which", ["latents", "epochs", "samples"])
def test_full_disk_while_training_keeps_the_last_checkpoint(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """No space for a latent, an epoch's adapter or its samples: one clear error, and the same command goes on later."""
    fsync = os.fsync

    def full(handle: int) -> None:
        seen = list(Path().glob(".cache/train/*/checkpoints/step-*"))
        if which in Path(f"/proc/self/fd/{handle}").readlink().parts and (seen or which == "latents"):
            raise OSError(28, "No space left on device")
        fsync(handle)

    whole = published(stage("whole", checkpoint_every=1))
    shutil.rmtree(".cache")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(TrainingError, match="no space left while writing the work in progress"):
            stage("again", checkpoint_every=1)
    assert not Path("again").exists()
    assert not list(Path(".cache").rglob("*.tmp"))
    for newest in Path().glob(".cache/train/*/checkpoints/step-00000002"):
        fingerprint = json.loads((newest / MANIFEST).read_text())["fingerprint"]
        assert Checkpoints(newest.parent.parent, fingerprint, keep=1).verify(newest) is None
    assert published(stage("again", checkpoint_every=1)) == whole


def test_full_disk_while_publishing_keeps_the_work(stage: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-written is published, and the finished training is still there for the next run."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("anime_lora.training.stage.record.write_card", full)
        with pytest.raises(TrainingError, match="no space left while writing the adapter"):
            stage()
    assert not list(Path().glob("*train*"))
    shutil.rmtree(stage())


def test_a_kill_while_the_work_is_deleted_leaves_no_ruin(stage: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the epochs' adapters gone and the checkpoints still there, the same command ends with the same bytes."""
    delete = shutil.rmtree

    def cut_short(folder: Path, ignore_errors: bool = False) -> None:
        if (folder / "epochs").is_dir() and (folder / "checkpoints").is_dir():
            delete(folder / "epochs")
            raise KeyboardInterrupt
        delete(folder, ignore_errors=ignore_errors)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", cut_short)
        with pytest.raises(KeyboardInterrupt):
            stage()
    whole = published(Path("train"))
    assert published(stage()) == whole
    assert not list(Path(".cache/train").iterdir())

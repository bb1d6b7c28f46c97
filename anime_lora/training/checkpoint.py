"""Checkpoints: what is saved of a run, whole or absent, and verified before it is used.

A checkpoint is a folder of three files: tensors (`state.pt`), progress (`progress.json`) and a manifest with the hashes
of both. It is written beside, flushed to the disk and renamed, so that a kill at any moment leaves the old or the new.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anime_lora.errors import FullDiskError, TrainingError
from anime_lora.files import FULL, sha256_file
from anime_lora.training.validation import EpochResult

MANIFEST = "MANIFEST.json"
TENSORS = "state.pt"
PROGRESS = "progress.json"
ASIDE = ".old"
"""After the name of a checkpoint that is being replaced by one of the same step; good as long as it is there."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A row of the loss table."""

    step: int
    epoch: int
    loss: float | None
    """None when it or the gradient was not finite."""
    lr: float

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {"step": self.step, "epoch": self.epoch, "loss": self.loss, "lr": self.lr}


@dataclass(frozen=True)
class SkippedStep:
    """A step whose loss or gradient was not finite: the images of its group, each with its timestep."""

    step: int
    images: list[str]
    timesteps: list[int]

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint and the record hold it."""
        return {"step": self.step, "pictures": self.images, "timesteps": self.timesteps}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "SkippedStep":
        """What `to_json` gave."""
        return cls(row["step"], row["pictures"], row["timesteps"])

    def __str__(self) -> str:
        """The images, each with its timestep."""
        return ", ".join(f"{name} at t={t}" for name, t in zip(self.images, self.timesteps, strict=True))


@dataclass
class TrainingState:
    """Where a run is and what it has measured. Counts are of finished things: `epoch` epochs, then `group` groups of
    the next one, `step` groups in all.
    """

    step: int = 0
    epoch: int = 0
    group: int = 0
    stopped_early: bool = False
    skipped_in_row: int = 0
    losses: list[StepResult] = field(default_factory=list)
    epochs: list[EpochResult] = field(default_factory=list)
    """The validated epochs, the untrained base as epoch 0."""
    skipped: list[SkippedStep] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """The validated epochs' adapters and strips: path in the work folder, sha256 (known to the first process)."""

    def end_step(self, result: StepResult) -> None:
        """Count a step."""
        self.step, self.group = self.step + 1, self.group + 1
        self.losses.append(result)

    def end_epoch(self, result: EpochResult) -> None:
        """Count an epoch that is trained and validated (or, as epoch 0, the base)."""
        self.epochs.append(result)
        self.epoch, self.group = result.epoch, 0

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint's `progress.json` holds it."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "group": self.group,
            "stopped_early": self.stopped_early,
            "bad_in_row": self.skipped_in_row,
            "losses": [result.to_json() for result in self.losses],
            "epochs": [result.to_json() for result in self.epochs],
            "bad": [skipped.to_json() for skipped in self.skipped],
            "files": self.files,
        }

    def load_json(self, progress: dict[str, Any]) -> None:
        """Take over what `to_json` gave."""
        self.step, self.epoch, self.group = progress["step"], progress["epoch"], progress["group"]
        self.stopped_early, self.skipped_in_row = progress["stopped_early"], progress["bad_in_row"]
        self.losses = [StepResult(**row) for row in progress["losses"]]
        self.epochs = [EpochResult(**row) for row in progress["epochs"]]
        self.skipped = [SkippedStep.from_json(row) for row in progress["bad"]]
        self.files = progress["files"]


@contextmanager
def room_on_disk(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk into one clear error.

    Raises:
        TrainingError: no space (or quota) left while writing `what`.
    """
    try:
        yield
    except (OSError, RuntimeError, FullDiskError) as error:
        full = isinstance(error, FullDiskError) or getattr(error, "errno", None) in FULL
        full = full or "No space left" in str(error)
        if not full and isinstance(error, RuntimeError):  # torch.save reports a failed write as a RuntimeError
            full = "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)
        if not full:
            raise
        raise TrainingError(
            f"no space left while writing {what} in {folder}: free some and run the same command again; "
            "the last good checkpoint is untouched"
        ) from error


class Checkpoints:
    """The checkpoints of one run.

    Args:
        work: the run's work folder; they lie in `checkpoints` below it.
        fingerprint: what the run's result follows from; a checkpoint of another one is not used.
        keep: how many stay.
    """

    def __init__(self, work: Path, fingerprint: str, keep: int) -> None:
        self.work, self.folder = work, work / "checkpoints"
        self.fingerprint, self.keep = fingerprint, keep

    def all(self) -> list[Path]:
        """The newest first; of one step that which replaced the other."""
        return sorted(self.folder.glob("step-*"), key=lambda path: (path.stem, not path.suffix), reverse=True)

    def save(self, tensors: dict[str, Any], state: TrainingState) -> Path:
        """Write a checkpoint, then delete old ones; returns its path.

        `tensors` go through torch.save (and are read with weights_only). A checkpoint of the same step goes only when
        the new one is in its place.

        Raises:
            TrainingError: the disk is full; nothing half-written is left.
        """
        final = self.folder / f"step-{state.step:08d}"
        beside, aside = self.folder / f".step-{state.step:08d}.tmp", final.with_suffix(ASIDE)
        shutil.rmtree(beside, ignore_errors=True)
        with room_on_disk("a checkpoint", self.folder):
            try:
                beside.mkdir(parents=True)
                torch.save(tensors, beside / TENSORS)
                (beside / PROGRESS).write_text(json.dumps(state.to_json()), encoding="utf-8")
                files = {name: _synced(beside / name) for name in (PROGRESS, TENSORS)}
                manifest = {"step": state.step, "fingerprint": self.fingerprint, "files": files}
                (beside / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
                _synced(beside / MANIFEST)  # written last: its hashes hold for files that are on the disk
                _sync_folder(beside)  # the names too must be on the disk before the rename says that all is there
                if final.exists():
                    shutil.rmtree(aside, ignore_errors=True)
                    final.rename(aside)
                beside.rename(final)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        _sync_folder(self.folder)
        shutil.rmtree(aside, ignore_errors=True)
        self._prune(final)
        return final

    def _prune(self, newest: Path) -> None:
        """Delete those before `newest` but for `keep` with it, and only while it verifies."""
        if self.verify(newest) is None:
            for old in [path for path in self.all() if path.name <= newest.name][self.keep :]:
                shutil.rmtree(old)

    def verify(self, checkpoint: Path) -> str | None:
        """Why a checkpoint cannot be used, or None when every file is as its manifest says."""
        try:
            manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
            if manifest["fingerprint"] != self.fingerprint:
                return "it belongs to other params, data or base"
            damaged = [name for name, digest in manifest["files"].items() if sha256_file(checkpoint / name) != digest]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"its manifest cannot be read ({type(error).__name__})"
        return f"{damaged[0]} is damaged" if damaged else None

    def load(self, state: TrainingState, device: torch.device) -> dict[str, Any] | None:
        """Put the newest good checkpoint's progress into `state` and return its tensors; None when there is none.

        Damaged ones, and those that count on an epoch's file that is gone, are passed over with a warning.
        """
        for checkpoint in self.all():
            problem = self.verify(checkpoint)
            if problem is None:
                progress = json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))
                problem = self._missing(progress["files"])
            if problem is None:
                state.load_json(progress)
                tensors: dict[str, Any] = torch.load(checkpoint / TENSORS, map_location=device, weights_only=True)
                return tensors
            print(f"warning: checkpoint {checkpoint.name} is passed over: {problem}", flush=True)
        return None

    def _missing(self, files: dict[str, str]) -> str | None:
        """Which file of an epoch is not as it was; None when all are."""
        for name, digest in files.items():
            if not (self.work / name).is_file() or sha256_file(self.work / name) != digest:
                return f"{name} is missing or damaged"
        return None

    def epoch_files(self, epoch: int) -> dict[str, str]:
        """The work folder's files of an epoch, flushed to the disk, with their sha256: publishing needs them."""
        files = sorted(self.work.glob(f"*/epoch-{epoch:02d}.*"))
        for each in {self.work, *(file.parent for file in files)}:
            _sync_folder(each)
        return {file.relative_to(self.work).as_posix(): sha256_file(file) for file in files}


def _synced(path: Path) -> str:
    """Flush a file to the disk; returns its sha256."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    return sha256_file(path)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

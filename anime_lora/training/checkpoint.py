"""Checkpoints that are whole or absent: written beside, synced, listed with hashes, renamed; verified before use."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from anime_lora.errors import TrainingError
from anime_lora.files import sha256_file

MANIFEST = "MANIFEST.json"
STATE = "state.pt"
PROGRESS = "progress.json"
ASIDE = ".old"
"""After the name of a checkpoint that is being replaced by one of the same step; good as long as it is there."""


@contextmanager
def room_on_disk(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk into one clear error.

    Raises:
        TrainingError: no space (or quota) left while writing `what`.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)
        if not full and isinstance(error, RuntimeError):  # torch.save reports a failed write as a RuntimeError
            full = "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)
        if not full:
            raise
        raise TrainingError(
            f"no space left while writing {what} in {folder}: free some and run the same command again; "
            "the last good checkpoint is untouched"
        ) from error


def save(folder: Path, step: int, fingerprint: str, tensors: dict[str, Any], progress: dict[str, Any]) -> Path:
    """Write checkpoint `step` into `folder` and return its path.

    `tensors` goes through torch.save (and is read with weights_only), `progress` is JSON. A checkpoint of the same step
    goes only when the new one is in its place.

    Raises:
        TrainingError: the disk is full; nothing half-written is left.
    """
    final = folder / f"step-{step:08d}"
    beside, aside = folder / f".step-{step:08d}.tmp", final.with_suffix(ASIDE)
    shutil.rmtree(beside, ignore_errors=True)
    with room_on_disk("a checkpoint", folder):
        try:
            beside.mkdir(parents=True)
            torch.save(tensors, beside / STATE)
            (beside / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
            files = {name: _synced(beside / name) for name in (PROGRESS, STATE)}
            manifest = {"step": step, "fingerprint": fingerprint, "files": files}
            (beside / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            _synced(beside / MANIFEST)
            sync_folder(beside)
            if final.exists():
                shutil.rmtree(aside, ignore_errors=True)
                final.rename(aside)
            beside.rename(final)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    sync_folder(folder)
    shutil.rmtree(aside, ignore_errors=True)
    return final


def _synced(path: Path) -> str:
    """Flush a file to the disk; returns its sha256."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    return sha256_file(path)


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fault(checkpoint: Path, fingerprint: str) -> str | None:
    """Why a checkpoint cannot be used, or None when every file is as its manifest says."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        if manifest["fingerprint"] != fingerprint:
            return "it belongs to other params, data or base"
        damaged = [name for name, digest in manifest["files"].items() if sha256_file(checkpoint / name) != digest]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its manifest cannot be read ({type(error).__name__})"
    return f"{damaged[0]} is damaged" if damaged else None


def lost(checkpoint: Path) -> str | None:
    """Which file that its progress counts on is not as it was, beside the checkpoints' folder; None when all are."""
    progress = json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))
    for name, digest in progress.get("files", {}).items():
        file = checkpoint.parent.parent / name
        if not file.is_file() or sha256_file(file) != digest:
            return f"{name} is missing or damaged"
    return None


def saved(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, the newest first; of one step that which replaced the other."""
    return sorted(folder.glob("step-*"), key=lambda path: (path.stem, not path.suffix), reverse=True)


def prune(newest: Path, keep: int, fingerprint: str) -> None:
    """Delete those before `newest` but for `keep` with it, and only while it verifies."""
    if fault(newest, fingerprint) is None:
        for old in [path for path in saved(newest.parent) if path.name <= newest.name][keep:]:
            shutil.rmtree(old)


def latest(folder: Path, fingerprint: str, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Tensors and progress of the newest good checkpoint; damaged ones are passed over with a warning."""
    for checkpoint in saved(folder):
        reason = fault(checkpoint, fingerprint) or lost(checkpoint)
        if reason is None:
            tensors = torch.load(checkpoint / STATE, map_location=device, weights_only=True)
            return tensors, json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))
        print(f"warning: checkpoint {checkpoint.name} is passed over: {reason}", flush=True)
    return None

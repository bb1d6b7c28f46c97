"""What stands behind the settings that name a model: hashes of local folders, for DVC to depend on.

A model may be a hub id, and DVC stops at a dep that is not on the disk; so `check` writes these hashes at every
`dvc repro`, and the stages that load models depend on that file.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.load import Params
from anime_lora.files import sha256_file, stamp, write_json

HASHES = paths.CACHE / "model-hashes.json"


@dataclass
class FileHashes:
    """Hashes of files by path, size and time of change: a base of 4 GB is not read again at every `dvc repro`."""

    known: dict[str, str] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)

    def of(self, file: Path) -> str:
        """The sha256 of a file."""
        key = f"{file.resolve()} {stamp(file)}"
        self.used[key] = self.known.get(key) or sha256_file(file)
        return self.used[key]


def local_models(params: Params) -> dict[str, str]:
    """The hash of each model that lies on this machine, by the name that `params.yaml` gives it."""
    names = [params.base.model, params.validate_sample.controlnet, *params.evaluate.encoders]
    hashes = FileHashes()
    with suppress(OSError, ValueError, TypeError):
        hashes.known.update(json.loads(HASHES.read_text(encoding="utf-8")))
    models = {name: _hash(Path(name), hashes) for name in names if name and Path(name).exists()}
    if hashes.used != hashes.known:
        write_json(HASHES, hashes.used)
    return models


def _hash(path: Path, hashes: FileHashes) -> str:
    """Of a file, or of the names and hashes of all files in a folder; hidden ones are no part of a model."""
    if path.is_file():
        return hashes.of(path)
    names = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    rows = "".join(f"{name.as_posix()} {hashes.of(path / name)}\n" for name in visible)
    return hashlib.sha256(rows.encode()).hexdigest()

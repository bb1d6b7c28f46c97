"""What a run leaves on record: what its result follows from, the loss curves, `record.json`, and the model card."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_lora import __version__
from anime_lora.config.section import Base, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion.base_model import configs_hash, weights_hash
from anime_lora.files import sha256_file, write_json, write_text
from anime_lora.lora.metadata import Lineage, current_commit, model_name
from anime_lora.training.batch import TrainingImage, dataset_hash, of_split
from anime_lora.training.checkpoint import SkippedStep, TrainingState
from anime_lora.training.selection import scores
from anime_lora.training.validation import EpochResult

NO_EFFECT = {"checkpoint_every", "keep_checkpoints", "keep_epochs", "max_bad_steps"}
"""Settings that do not change the adapter: a run goes on when they change."""


@dataclass(frozen=True)
class RunInputs:
    """What a run's result follows from; processes and device are left out."""

    settings: Train
    concept: Concept
    base: Base
    base_weights_sha256: str
    base_configs_sha256: str
    dataset_sha256: str
    train_images: int
    holdout_images: int
    version: str
    """Of this package."""
    commit: str | None

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of params, data and base: names the work folder, and a checkpoint of another one is not used."""
        return _fingerprint(**self._parts())

    @property
    def params_sha256(self) -> str:
        """Hex sha256 of the train section."""
        return _fingerprint(params=self._parts()["params"])

    def lineage(self) -> Lineage:
        """As the metadata of the published files hold it."""
        return Lineage(self.version, self.commit, self.dataset_sha256, self.params_sha256, self.base_weights_sha256)

    def to_json(self) -> dict[str, Any]:
        """As the record holds it."""
        code = {"version": self.version, "commit": self.commit}
        return {**code, **self._parts(), "params_sha256": self.params_sha256}

    def _parts(self) -> dict[str, Any]:
        return {
            "params": self.settings.model_dump(exclude=NO_EFFECT),
            "concept": self.concept.model_dump(),
            "base": {
                "model": model_name(self.base),
                "resolution": self.base.resolution,
                "weights_sha256": self.base_weights_sha256,
                "configs_sha256": self.base_configs_sha256,
            },
            "dataset": {
                "sha256": self.dataset_sha256,
                "train": self.train_images,
                "holdout": self.holdout_images,
            },
        }


def run_inputs(
    settings: Train, concept: Concept, base: Base, base_path: Path, images: Sequence[TrainingImage]
) -> RunInputs:
    """What a run on these images and the base at `base_path` follows from."""
    commit = current_commit()
    return RunInputs(
        settings,
        concept,
        base,
        base_weights_sha256=weights_hash(base_path),
        base_configs_sha256=configs_hash(base_path),
        dataset_sha256=dataset_hash(images),
        train_images=len(of_split(images, "train")),
        holdout_images=len(of_split(images, "holdout")),
        version=__version__,
        commit=commit.sha if commit else None,
    )


def _fingerprint(**parts: Any) -> str:
    # the version goes up when the same settings begin to give another adapter
    text = json.dumps({"version": 2, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class TrainingRecord:
    """A finished run: `record.json`."""

    inputs: RunInputs
    epoch: int
    """The published one."""
    reason: str
    """Why it was chosen."""
    last_epoch: int
    last_error: str | None
    """Why the last epoch's adapter was left out, or None when it was written."""
    steps: int
    stopped_early: bool
    epochs: list[EpochResult]
    scores: list[float | None]
    """The selection score of each epoch."""
    skipped: list[SkippedStep]
    adapters: dict[str, Path]
    """The published files, by format: diffusers and kohya."""

    def to_json(self) -> dict[str, Any]:
        """As `record.json` holds it."""
        return {
            **self.inputs.to_json(),
            "epoch": self.epoch,
            "reason": self.reason,
            "last_epoch": self.last_epoch,
            "last_fault": self.last_error,
            "steps": self.steps,
            "stopped_early": self.stopped_early,
            "epochs": _scored(self.epochs, self.scores),
            "bad_steps": [skipped.to_json() for skipped in self.skipped],
            "adapters": {
                kind: {"file": path.name, "sha256": sha256_file(path)} for kind, path in self.adapters.items()
            },
        }


def write_record(folder: Path, record: TrainingRecord) -> None:
    """Write `record.json`."""
    write_json(folder / "record.json", record.to_json())


def write_curves(folder: Path, state: TrainingState) -> None:
    """`plots/loss.csv` and `plots/heldout.csv`."""
    losses = [result.to_json() for result in state.losses]
    write_text(folder / "plots" / "loss.csv", table(("step", "epoch", "loss", "lr"), losses))
    epochs = _scored(state.epochs, scores(state.epochs))
    write_text(folder / "plots" / "heldout.csv", table(("epoch", "heldout", "probe", "gap", "style", "score"), epochs))


def _scored(epochs: Sequence[EpochResult], values: Sequence[float | None]) -> list[dict[str, Any]]:
    return [{**epoch.to_json(), "score": score} for epoch, score in zip(epochs, values, strict=True)]


def table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """CSV with a header; None is an empty field."""
    lines = [",".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"


def write_card(folder: Path, record: TrainingRecord, strip: str) -> None:
    """`README.md`: the model card, with lineage and use; `strip` is the published epoch's samples."""
    inputs, params, concept = record.inputs, record.inputs.settings, record.inputs.concept
    kohya = record.adapters["kohya"]
    heldout = next(epoch.heldout for epoch in record.epochs if epoch.epoch == record.epoch)
    write_text(
        folder / "README.md",
        f"""---
tags: [lora, stable-diffusion, diffusers, anime]
base_model: {model_name(inputs.base)}
instance_prompt: {concept.instance_prompt}
---
# {concept.trigger} {concept.class_name}

![Samples of the published epoch]({strip})

A LoRA of rank {params.rank} (alpha {params.alpha}, {params.target}) for `{model_name(inputs.base)}`,
trained on {inputs.train_images} images for {record.steps} steps.
Published: epoch {record.epoch}, {record.reason}.

Prompt with `{concept.instance_prompt}`.

- diffusers: `pipe.load_lora_weights(".", weight_name="pytorch_lora_weights.safetensors")`
- A1111, Forge, ComfyUI: put `{kohya.name}` into the webui's LoRA folder, then `<lora:{kohya.stem}:1>`

| lineage | |
|---|---|
| base weights sha256 | `{inputs.base_weights_sha256}` |
| dataset sha256 | `{inputs.dataset_sha256}` |
| params sha256 | `{inputs.params_sha256}` |
| code | anime_lora {inputs.version}, git commit `{inputs.commit or "none"}` |
| held-out loss | {heldout} |

{_epochs_table(record)}""",
    )


def _epochs_table(record: TrainingRecord) -> str:
    """The validated epochs as a Markdown table."""
    names = ("epoch", "step", "heldout", "probe", "style", "score")
    rows = [[row[name] for name in names] for row in _scored(record.epochs, record.scores)]
    cells = [["" if value is None else f"{value:.5g}" for value in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in [list(names), ["---"] * len(names), *cells]]
    return "\n".join(lines) + "\n"

"""What training wrote, as far as the report shows it: record.json and plots/heldout.csv."""

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from anime_lora.errors import EvaluationError


class RecordDataset(BaseModel):
    """How many images were trained on and held out, and the version's hash."""

    train: int | None = None
    holdout: int | None = None
    sha256: str | None = None


class RecordBase(BaseModel):
    """The base's name."""

    model: str | None = None


class TrainingRecord(BaseModel):
    """record.json; a LoRA from elsewhere may lack any of it, and what else is in it is not shown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: int | None = None
    """The one that was published."""
    reason: str = ""
    params: dict[str, Any] = {}
    params_sha256: str | None = None
    dataset: RecordDataset = RecordDataset()
    base: RecordBase = RecordBase()


@dataclass(frozen=True)
class Epoch:
    """Validation after one epoch (0: the base): losses, distance to the style, and the selection score."""

    epoch: float
    heldout: float | None = None
    probe: float | None = None
    """The loss on as many trained images."""
    gap: float | None = None
    style: float | None = None
    score: float | None = None


def read_record(folder: Path) -> TrainingRecord:
    """The record of the LoRA in `folder`.

    Raises:
        EvaluationError: it is missing or damaged.
    """
    try:
        return TrainingRecord.model_validate_json((folder / "record.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise EvaluationError(f"{folder}/record.json cannot be read: run `dvc repro train` first") from error


def read_epochs(folder: Path) -> list[Epoch]:
    """Every epoch's validation of the LoRA in `folder`; none where the file is not there."""
    file = folder / "plots" / "heldout.csv"
    if not file.is_file():
        return []
    names = {field.name for field in fields(Epoch)}
    rows = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    return [Epoch(**{name: float(value) for name, value in row.items() if value and name in names}) for row in rows]

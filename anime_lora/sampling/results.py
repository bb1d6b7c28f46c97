"""What validate-sample writes for evaluate, as types: rows of images.jsonl, checks.json and suite.json.

Imports neither torch nor diffusers. `sources.jsonl` is in `sources`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Concept
from anime_lora.errors import SamplingError
from anime_lora.files import read_rows, write_json, write_jsonl
from anime_lora.sampling.suite import ModelIdentity, Shot

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class GeneratedImage(Shot):
    """A row of images.jsonl: a shot and its PNG; `file` is relative to validate-sample's folder."""

    file: str
    sampler: str
    sha256: str
    """Of the file: base, LoRA and settings alike give images with the same hash."""


@dataclass(frozen=True)
class AdapterChecks:
    """checks.json: largest absolute differences between predictions of the UNet, one for each of `prompts`."""

    prompts: tuple[str, ...]
    zero: tuple[float, ...]
    """Adapter at weight 0 against the bare base."""
    merged: tuple[float, ...]
    """Adapter merged into the base's weights against unmerged."""
    sum: tuple[float, ...]
    """Two adapters at `shares` against both deltas merged; a copy of the first stands in where there is no second."""
    unloaded: tuple[float, ...]
    """After unloading against the bare base."""
    effect: tuple[float, ...]
    """The adapter's own mean absolute change, to compare the others with."""
    second: bool
    """Whether there was a second adapter."""
    shares: tuple[float, ...]
    dtype: str
    finite: bool
    """Whether no weight in the file is NaN or infinite."""


class GeneratedSuite(BaseModel):
    """suite.json: what the images were generated with."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    suite_id: str
    """Equal for runs whose numbers may be compared."""
    # the key is older than the name; files of earlier runs stay readable and equal
    image_count: int = Field(validation_alias="pictures", serialization_alias="pictures")
    identity: ModelIdentity
    adapters: dict[str, str]
    """Hex sha256 of the LoRA files by adapter name."""
    concept: Concept
    params: ValidateSample


def write_generated(folder: Path, images: list[GeneratedImage]) -> None:
    """Write images.jsonl."""
    write_jsonl(folder / "images.jsonl", map(asdict, images))


def read_generated(folder: Path) -> list[GeneratedImage]:
    """The images of validate-sample, in the order of the suite.

    Raises:
        SamplingError: images.jsonl is missing or damaged.
    """
    return _read(folder / "images.jsonl", lambda file: read_rows(file, GeneratedImage))


def write_adapter_checks(folder: Path, checks: AdapterChecks) -> None:
    """Write checks.json."""
    write_json(folder / "checks.json", asdict(checks))


def read_adapter_checks(folder: Path) -> AdapterChecks:
    """The checks of the adapter.

    Raises:
        SamplingError: checks.json is missing or damaged.
    """
    return _read(folder / "checks.json", lambda file: TypeAdapter(AdapterChecks).validate_json(file.read_bytes()))


def write_suite(folder: Path, suite: GeneratedSuite) -> None:
    """Write suite.json."""
    write_json(folder / "suite.json", suite.model_dump(mode="json", by_alias=True))


def read_suite(folder: Path) -> GeneratedSuite:
    """What the images were generated with.

    Raises:
        SamplingError: suite.json is missing or damaged.
    """
    return _read(folder / "suite.json", lambda file: GeneratedSuite.model_validate_json(file.read_bytes()))


def _read(file: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(file)
    except (OSError, ValueError, TypeError) as error:
        raise SamplingError(f"{file} cannot be read: run `dvc repro validate-sample` first") from error

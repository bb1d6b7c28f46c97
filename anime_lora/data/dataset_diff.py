"""What changed between two versions of the dataset: images added, removed, captioned anew, and the drift of measures.

A version is validate's manifest; an image is known by the hash of its bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anime_lora.config import paths
from anime_lora.data.quality.measures import dataset_drift
from anime_lora.errors import DatasetError
from anime_lora.files import read_rows

STABLE, MUCH = 0.1, 0.25
"""PSI below which a measure counts as stable, and above which as much shifted."""


@dataclass(frozen=True)
class VersionImage:
    """What is remembered of an image of a version: enough to compare it with a later one."""

    id: str
    path: str
    caption: str | None
    width: int
    height: int
    contrast: float
    sharpness: float


@dataclass(frozen=True)
class Recaptioned:
    """An image that is in both versions, with another caption."""

    image: VersionImage
    caption_before: str | None


@dataclass(frozen=True)
class Change:
    """One difference, for people."""

    change: str
    """added, removed, captioned anew, or which measure drifted."""
    path: str
    """The image's; empty for a measure."""
    before: str
    now: str


@dataclass(frozen=True)
class DatasetChanges:
    """The difference of two versions."""

    before: int
    """Images of the earlier version."""
    now: int
    unchanged: int
    """Images that are in both with the same caption."""
    added: list[VersionImage]
    removed: list[VersionImage]
    recaptioned: list[Recaptioned]
    drift: dict[str, float]
    """PSI by measure; empty where a version has no image."""

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same images with the same captions."""
        return not (self.added or self.removed or self.recaptioned)

    def summary(self) -> str:
        """Such as `3 added, 1 removed, 0 captioned anew, 211 kept`."""
        added, removed, recaptioned = len(self.added), len(self.removed), len(self.recaptioned)
        return f"{added} added, {removed} removed, {recaptioned} captioned anew, {self.unchanged} kept"

    def table(self) -> list[dict[str, str]]:
        """One row per image, then one per measure, for people."""
        return [
            {"change": one.change, "image": one.path, "before": one.before, "now": one.now}
            for one in (*self.images(), *self.measures())
        ]

    def images(self) -> list[Change]:
        """One row per image."""
        return [
            *(Change("added", image.path, "", image.caption or "") for image in self.added),
            *(Change("removed", image.path, image.caption or "", "") for image in self.removed),
            *(
                Change("captioned anew", one.image.path, one.caption_before or "", one.image.caption or "")
                for one in self.recaptioned
            ),
        ]

    def measures(self) -> list[Change]:
        """One row per measure."""
        return [
            Change(f"drift of {name}", "", "", f"PSI {score:.3f}, {describe_drift(score)}")
            for name, score in self.drift.items()
        ]


def describe_drift(score: float) -> str:
    """PSI in a word: stable, shifted, much shifted."""
    return "stable" if score < STABLE else "shifted" if score <= MUCH else "much shifted"


def read_version(path: Path) -> list[VersionImage]:
    """The images of a version: validate's manifest, or the folder it lies in.

    Raises:
        DatasetError: it is not there, or no manifest of validate.
    """
    file = path / paths.MANIFEST if path.is_dir() else path
    try:
        return read_rows(file, VersionImage)
    except ValueError as error:
        raise DatasetError(f"{file} is no manifest of validate: {error}") from error
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read as a dataset version ({type(error).__name__}): name validate's manifest.jsonl, or "
            f"get an older one with `dvc get . {paths.VALIDATE / paths.MANIFEST} --rev REVISION -o old.jsonl`"
        ) from error


def compare(before: Sequence[VersionImage], now: Sequence[VersionImage]) -> DatasetChanges:
    """Images by the hash of their bytes; a file that was only moved or renamed is unchanged."""
    old, new = ({image.id: image for image in images} for images in (before, now))
    both = [image for image in now if image.id in old]
    recaptioned = [
        Recaptioned(image, old[image.id].caption) for image in both if image.caption != old[image.id].caption
    ]
    return DatasetChanges(
        before=len(before),
        now=len(now),
        unchanged=len(both) - len(recaptioned),
        added=[image for image in now if image.id not in old],
        removed=[image for image in before if image.id not in new],
        recaptioned=recaptioned,
        drift=dataset_drift(measures(before), measures(now)),
    )


def measures(images: Sequence[VersionImage]) -> dict[str, list[float]]:
    """The values whose distribution is watched, by name."""
    return {
        "contrast": [image.contrast for image in images],
        "sharpness": [image.sharpness for image in images],
        "short_side": [float(min(image.width, image.height)) for image in images],
    }

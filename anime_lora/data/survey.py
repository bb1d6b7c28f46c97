"""A look at sources before a run: the data stages themselves, into a folder that is thrown away.

What they compute of each image stays in their caches, so the run that follows does none of it again.
"""

import contextlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from anime_lora.config.data import Ingest, Organize, Resize, Validate
from anime_lora.config.section import Compute, Concept
from anime_lora.data.ingest import ingest
from anime_lora.data.manifest import IngestedFile, IngestSummary, QuarantinedFile, ValidImage, read_manifest
from anime_lora.data.organize import organize
from anime_lora.data.resize import resize
from anime_lora.data.validate import validate

REASONS = 5
"""So many reasons are listed, the most frequent first."""


@dataclass(frozen=True)
class SetAside:
    """Why files are not trained on."""

    reason: str
    """The check's or the code's name."""
    count: int
    example: str
    """One of the files, with the sentence."""


@dataclass(frozen=True)
class Survey:
    """What sources hold."""

    files: int
    """Of all kinds."""
    images: int
    """Files that could be images."""
    usable: int
    with_caption: int
    """Of the usable ones."""
    near_duplicates: int
    """Usable images that have a near-duplicate."""
    sides: tuple[int, int, int]
    """Smallest, median and largest shorter side of the usable ones, in pixels."""
    enlarged: int
    """Usable images whose shorter side is below `resize.size`."""
    size: int
    """`resize.size`."""
    set_aside: tuple[SetAside, ...]

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for people."""
        smallest, median, largest = self.sides
        enlarged = f"; {self.enlarged} are below {self.size} px and will be enlarged" if self.enlarged else ""
        duplicates = f", {self.near_duplicates} of them near-duplicates" if self.near_duplicates else ""
        count = sum(one.count for one in self.set_aside)
        return [
            ("files", f"{self.files}, of which {self.images} could be images"),
            ("usable images", f"{self.usable}{duplicates}"),
            ("shorter side", f"{smallest} to {largest} px, median {median}{enlarged}"),
            ("captions", f"{self.with_caption} of {self.usable} images have one"),
            ("set aside", f"{count} files" if count else "nothing"),
            *(
                (f"  {one.reason}", f"{one.count}, e.g. {one.example}")
                for one in sorted(self.set_aside, key=lambda one: (-one.count, one.reason))[:REASONS]
            ),
        ]


@dataclass(frozen=True)
class DataSections:
    """The settings of the four data stages."""

    ingest: Ingest
    validate: Validate
    resize: Resize
    organize: Organize


def survey(sections: DataSections, concept: Concept, compute: Compute, folder: Path) -> Survey:
    """Run the four data stages below `folder`, which gets `organize/`, and say what they made of the sources.

    Raises:
        SourceError: a source cannot be read, or holds no image.
        DatasetError: a limit of the settings is passed, with the numbers.
    """
    ingested, validated, resized, organized = (folder / name for name in ("ingest", "validate", "resize", "organize"))
    with contextlib.redirect_stdout(io.StringIO()):  # their lines name files of the real run
        ingest(sections.ingest, compute, out=ingested)
        validate(sections.validate, compute, source=ingested, out=validated)
        resize(sections.resize, compute, source=validated, store=ingested, out=resized)
        organize(sections.organize, concept, source=resized, out=organized)
    files, valid = read_manifest(ingested, IngestedFile), read_manifest(validated, ValidImage)
    summary = json.loads((ingested / IngestSummary.FILE).read_text(encoding="utf-8"))
    sides = sorted(min(image.width, image.height) for image in valid)
    clusters = Counter(image.cluster for image in valid)
    return Survey(
        files=summary["files"],
        images=len(files),
        usable=len(valid),
        with_caption=sum(image.caption is not None for image in valid),
        near_duplicates=sum(count for count in clusters.values() if count > 1),
        sides=(sides[0], sides[len(sides) // 2], sides[-1]),
        enlarged=sum(side < sections.resize.size for side in sides),
        size=sections.resize.size,
        set_aside=_set_aside(files, read_manifest(validated, QuarantinedFile)),
    )


def _set_aside(files: list[IngestedFile], quarantine: list[QuarantinedFile]) -> tuple[SetAside, ...]:
    """By ingest's code or validate's check."""
    codes = {(file.source, file.path): file.code or "rejected" for file in files if file.status == "rejected"}
    grouped: dict[str, list[QuarantinedFile]] = {}
    for row in quarantine:
        reason = codes.get((row.source, row.path), row.check) if row.check == "ingest" else row.check
        grouped.setdefault(reason, []).append(row)
    return tuple(
        SetAside(reason.replace("_", " "), len(rows), f"{rows[0].path}: {rows[0].reason}")
        for reason, rows in sorted(grouped.items())
    )

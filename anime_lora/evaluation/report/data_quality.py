"""What the page says of the files that validate set aside, and of images that look alike."""

import os
from collections import Counter
from itertools import groupby
from pathlib import Path

from anime_lora.config import paths
from anime_lora.data.manifest import ClusterMember, QuarantinedFile
from anime_lora.evaluation.report.model import Cluster, Origin, PageImage, SetAside
from anime_lora.files import read_rows
from anime_lora.images import read_size

FILES, CLUSTERS, NAMES = 40, 10, 6
"""So many files, clusters, and names of each cluster are listed."""


def set_aside(validate: Path, beside: Path) -> SetAside | None:
    """The files that `validate` set aside; the sheet's path is relative to `beside`, where the report will lie."""
    file, sheet = validate / QuarantinedFile.FILE, validate / paths.SET_ASIDE
    rows = read_rows(file, QuarantinedFile) if file.is_file() else []
    if not rows:
        return None
    counts = ", ".join(f"{count} by {check}" for check, count in sorted(Counter(row.check for row in rows).items()))
    image = None
    if sheet.is_file():
        width, height = read_size(sheet)
        name = Path(os.path.relpath(sheet, beside)).as_posix()
        label = "Some of them, with the reason below each"
        image = PageImage(name, None, label, "Contact sheet: files set aside", width, height)
    files = [Origin(row.path, row.reason) for row in rows[:FILES]]
    return SetAside(f"{len(rows)} files are not used: {counts}.", image, files, max(0, len(rows) - FILES))


def clusters(validate: Path) -> list[Cluster]:
    """The clusters with the most files, largest first."""
    file = validate / ClusterMember.FILE
    rows = read_rows(file, ClusterMember) if file.is_file() else []
    groups = [list(members) for _, members in groupby(rows, key=lambda row: row.cluster)]
    largest = sorted(groups, key=lambda members: (-len(members), members[0].cluster))[:CLUSTERS]
    return [Cluster(_names(one, in_dataset=True), _names(one, in_dataset=False)) for one in largest]


def _names(members: list[ClusterMember], *, in_dataset: bool) -> str:
    names = [member.path for member in members if member.in_dataset == in_dataset]
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more

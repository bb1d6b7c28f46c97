"""The dataset's version in the report: what changed since the champion's, which `scores.json` remembers."""

from collections.abc import Sequence
from typing import Any

from anime_lora.data.dataset_diff import MUCH, VersionImage, compare, describe_drift, measures

SHOWN = 20
"""Changed images that the page lists; the rest is counted."""


def data_section(version: Sequence[VersionImage], before: Sequence[VersionImage] | None) -> dict[str, Any]:
    """The report's `dataset`, as `content` describes it.

    Args:
        version: validate's manifest as it is now.
        before: the champion's version; None where there is no champion, or an old one without it.
    """
    captioned = sum(image.caption is not None for image in version)
    size = f"{len(version)} images, {captioned} with a caption"
    if before is None:
        none = "There is no earlier version to compare with: evaluate.champion names none that remembers its dataset."
        return {"sentence": f"{size}. {none}", "changes": [], "more": 0, "drift": [], "quantiles": _spread(version)}
    changes = compare(before, version)
    changed = [change.to_json() for change in changes.images()]
    same = "The same images and captions as the champion's." if changes.is_empty else f"{changes.summary()}."
    drift = [{"measure": name, "psi": score, "text": describe_drift(score)} for name, score in changes.drift.items()]
    alarm = [row["measure"] for row in drift if float(str(row["psi"])) > MUCH]
    warning = f" Much shifted: {', '.join(str(name) for name in alarm)}." if alarm else ""
    return {
        "sentence": f"{size}. Since the champion's version of {changes.before} images: {same}{warning}",
        "changes": changed[:SHOWN], "more": max(0, len(changed) - SHOWN), "drift": drift, "quantiles": _spread(version),
    }  # fmt: skip


def _spread(version: Sequence[VersionImage]) -> list[dict[str, Any]]:
    """Least, middle and greatest value of each measure."""
    rows = []
    for name, values in measures(version).items():
        if values:
            ordered = sorted(values)
            three = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
            rows.append({"measure": name, "text": " · ".join(f"{value:g}" for value in three)})
    return rows

"""The dataset's version in the report: what changed since the champion's, which `scores.json` remembers."""

from collections.abc import Sequence
from typing import Any

from anime_lora.data.dataset_diff import MUCH, NEEDED, Row, compare, loud, measures

SHOWN = 20
"""Changed images that the page lists; the rest is counted."""


def brief(version: Sequence[Row]) -> list[Row]:
    """What `scores.json` keeps of a version: enough to compare it with a later one."""
    return [{name: row[name] for name in NEEDED} for row in version]


def data_section(version: Sequence[Row], before: Sequence[Row] | None) -> dict[str, Any]:
    """The report's `dataset`, as `content` describes it.

    Args:
        version: validate's manifest as it is now.
        before: `brief` of the champion's version; None where there is no champion, or an old one without it.
    """
    captioned = sum(row["caption"] is not None for row in version)
    size = f"{len(version)} images, {captioned} with a caption"
    if before is None:
        none = "There is no earlier version to compare with: evaluate.champion names none that remembers its dataset."
        return {"sentence": f"{size}. {none}", "changes": [], "more": 0, "drift": [], "quantiles": _spread(version)}
    changes = compare(before, version)
    changed = [row for row in changes.table() if row["picture"]]
    same = "The same images and captions as the champion's." if changes.nothing else f"{changes.sentence()}."
    drift = [{"measure": name, "psi": score, "text": loud(score)} for name, score in changes.drift.items()]
    alarm = [row["measure"] for row in drift if float(str(row["psi"])) > MUCH]
    warning = f" Much shifted: {', '.join(str(name) for name in alarm)}." if alarm else ""
    return {
        "sentence": f"{size}. Since the champion's version of {changes.before} images: {same}{warning}",
        "changes": changed[:SHOWN], "more": max(0, len(changed) - SHOWN), "drift": drift, "quantiles": _spread(version),
    }  # fmt: skip


def _spread(version: Sequence[Row]) -> list[dict[str, Any]]:
    """Least, middle and greatest value of each measure."""
    rows = []
    for name, values in measures(version).items():
        if values:
            ordered = sorted(values)
            three = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
            rows.append({"measure": name, "text": " · ".join(f"{value:g}" for value in three)})
    return rows

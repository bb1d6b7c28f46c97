"""One claim and how it is judged: shown, not shown, or not measurable here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from anime_lora.evaluation.report.wording import number
from anime_lora.evaluation.statistics import Estimate

SHOWN, NOT_SHOWN, NOT_MEASURABLE = "shown", "not shown", "not measurable here"


@dataclass(frozen=True)
class Claim:
    """One row of the table. `shown` reads the estimate; `yes` and `no` are the sentences for either verdict."""

    id: str
    claim: str
    metric: str
    found: Estimate | None
    rule: str
    shown: Callable[[Estimate], bool]
    yes: str
    no: str
    clusters: str = "prompts"
    gallery: str | None = None
    curve: str | None = None
    missing: str = "no encoder that could measure it was loaded (evaluate.encoders)"
    details: list[tuple[str, str]] = field(default_factory=list)

    def judged(self, changes: bool) -> dict[str, Any]:
        """The row as `content` describes it; a LoRA that changes nothing shows nothing."""
        found = self.found
        row: dict[str, Any] = {
            "id": self.id, "claim": self.claim, "metric": self.metric, "rule": self.rule,
            "gallery": self.gallery, "curve": self.curve,
            "details": [{"label": label, "text": text} for label, text in self.details],
        }  # fmt: skip
        if found is None or found.low is None:
            reason = f"Not measured: {self.missing}."
            nothing = {"value": None, "text": "–", "interval": None, "n": None, "clusters": None, "pictures": None}
            return {**row, **nothing, "verdict": NOT_MEASURABLE, "reason": reason}
        passed = changes and self.shown(found)
        reason = self.yes if passed else self.no if changes else "The LoRA changes nothing: its images are the base's."
        return {
            **row, "value": found.value, "text": number(found.value), "interval": [found.low, found.high], "n": found.n,
            "clusters": self.clusters, "pictures": found.pictures, "reason": reason,
            "verdict": SHOWN if passed else NOT_SHOWN,
        }  # fmt: skip

"""Where a run is, and what it has seen so far: the JSON half of a checkpoint."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class State:
    """Counts are of finished things: `epoch` epochs, then `group` groups of the next one, `step` groups in all."""

    step: int = 0
    epoch: int = 0
    group: int = 0
    stopped_early: bool = False
    bad_in_row: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)
    """One row per step: step, epoch, loss (None when it was not finite), lr."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """One row per validated epoch, the untrained base as epoch 0: epoch, step, heldout, probe, gap, each, style."""
    bad: list[dict[str, Any]] = field(default_factory=list)
    """Skipped steps: step, images, timesteps."""
    files: dict[str, str] = field(default_factory=dict)
    """The validated epochs' adapters and strips: path in the work folder, sha256 (known to the first process)."""

    def count(self, row: dict[str, Any]) -> None:
        """One more step is done."""
        self.step, self.group = self.step + 1, self.group + 1
        self.losses.append(row)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """The epoch (or, as epoch 0, the base) is validated."""
        self.epochs.append(row)
        self.epoch, self.group = row["epoch"], 0

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

"""What became of every retraining: one JSON line each in `models/history.jsonl`, in Git."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from anime_lora.files import read_rows, write_jsonl
from flows.errors import ChampionError

HISTORY = Path("models/history.jsonl")
Outcome = Literal["promoted", "rejected", "rolled back"]


@dataclass(frozen=True)
class PromotionTest:
    """One condition of promotion and how it came out: `anime_lora.evaluation.promotion.Condition`, without torch."""

    kind: str
    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class HistoryEntry:
    """One retraining or rollback: a line of the file, whose keys are the fields."""

    at: str
    """When it ended, UTC, ISO 8601."""
    outcome: Outcome
    reason: str
    """Of the decision."""
    asked: str
    """What started the run."""
    why: str
    """What was new."""
    version: str | None
    """The champion's after it; None: there is none."""
    adapter: str
    """sha256 of the LoRA that it was about."""
    overrides: tuple[str, ...] = ()
    tests: tuple[PromotionTest, ...] = ()


def now() -> str:
    """This second, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_history(path: Path = HISTORY) -> list[HistoryEntry]:
    """Every entry, the oldest first; none where there is no file.

    Raises:
        ChampionError: a line is none of this program's.
    """
    try:
        return read_rows(path, HistoryEntry) if path.is_file() else []
    except ValueError as error:
        raise ChampionError(f"{path}: {error}: correct it, or `git checkout {path}`") from error


def append_entry(entry: HistoryEntry, path: Path = HISTORY) -> None:
    """Write one more line."""
    write_jsonl(path, [*read_history(path), entry])


def standing_promotions(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """The promotions that stand, the present champion last: a rollback takes the last one away."""
    standing: list[HistoryEntry] = []
    for entry in entries:
        if entry.outcome == "promoted":
            standing.append(entry)
        elif entry.outcome == "rolled back":
            standing.pop()
    return standing


def next_version(entries: list[HistoryEntry]) -> str:
    """Promotions are counted, also those rolled back: no version is given twice."""
    return f"v{1 + sum(entry.outcome == 'promoted' for entry in entries)}.0.0"


def days_since_training(entries: list[HistoryEntry]) -> float | None:
    """Days since the last retraining ended, whatever came of it; None without one."""
    ends = [datetime.fromisoformat(entry.at) for entry in entries if entry.outcome != "rolled back"]
    return (datetime.now(UTC) - ends[-1]).total_seconds() / 86400 if ends else None

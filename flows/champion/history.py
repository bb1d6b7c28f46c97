"""What became of every retraining: one JSON line each in `models/history.jsonl`, in Git."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from anime_lora.files import read_jsonl, write_jsonl

HISTORY = Path("models/history.jsonl")
Outcome = Literal["promoted", "rejected", "rolled back"]


@dataclass(frozen=True)
class Entry:
    """One retraining or rollback.

    `version` is the champion's after it (None: there is none), `adapter` the sha256 of the LoRA it was about.
    """

    at: str
    outcome: Outcome
    reason: str
    asked: str
    why: str
    version: str | None
    adapter: str
    overrides: list[str] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)


def now() -> str:
    """This second, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(path: Path = HISTORY) -> list[Entry]:
    """Every entry, the oldest first; none where there is no file."""
    return [Entry(**row) for row in read_jsonl(path)] if path.is_file() else []


def append(entry: Entry, path: Path = HISTORY) -> None:
    """Write one more line."""
    write_jsonl(path, [asdict(each) for each in (*read(path), entry)])


def line_of_champions(entries: list[Entry]) -> list[Entry]:
    """The promotions that stand, the present champion last: a rollback takes the last one away."""
    standing: list[Entry] = []
    for entry in entries:
        if entry.outcome == "promoted":
            standing.append(entry)
        elif entry.outcome == "rolled back":
            standing.pop()
    return standing


def next_version(entries: list[Entry]) -> str:
    """Promotions are counted, also those rolled back: no version is given twice."""
    return f"v{1 + sum(entry.outcome == 'promoted' for entry in entries)}.0.0"


def days_since_training(entries: list[Entry]) -> float | None:
    """Days since the last retraining ended, whatever came of it; None without one."""
    ends = [datetime.fromisoformat(entry.at) for entry in entries if entry.outcome != "rolled back"]
    return (datetime.now(UTC) - ends[-1]).total_seconds() / 86400 if ends else None

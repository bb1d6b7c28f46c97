"""Watch: what the sources hold, by content, and what differs from the last time; only new files are read."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.config.data import Ingest
from anime_lora.data.captions import stem
from anime_lora.data.memo import Memo
from anime_lora.data.sources import Entry, entries
from anime_lora.files import read_jsonl, sha256_file

Row = dict[str, Any]
MEMO = paths.CACHE / "watch" / "memo.jsonl"


@dataclass(frozen=True)
class Difference:
    """Files that came, went, or changed their bytes, each as its row in the lock file."""

    added: list[Row]
    removed: list[Row]
    changed: list[Row]

    @property
    def images(self) -> int:
        """Images concerned: one and its caption file count once, a table of captions counts as one."""
        return len({(row["source"], stem(row["path"])) for row in (*self.added, *self.removed, *self.changed)})

    def words(self) -> str:
        """Such as `3 added, 1 changed`; empty without a difference. An image with its caption counts once."""
        kinds = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        counts = [(name, len({(row["source"], stem(row["path"])) for row in rows})) for name, rows in kinds]
        return ", ".join(f"{count} {name}" for name, count in counts if count)

    def table(self) -> list[Row]:
        """One row per file, for people."""
        kinds = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        return [{"what": name, "source": row["source"], "path": row["path"]} for name, rows in kinds for row in rows]


def contents(section: Ingest, memo: Path = MEMO) -> list[Row]:
    """One row {"source", "path", "bytes", "sha256"} per file of the sources, sorted; a refused file has no hash.

    A file whose place, size and mark are as before is not read again.

    Raises:
        SourceError: a source cannot be listed, or holds more than `ingest.max_files`.
    """
    known = Memo(memo)
    found = (
        entry for source in section.sources for entry in entries(source, section.max_files, section.max_archive_ratio)
    )
    rows = [_row(entry, known, section.max_file_mb * 2**20) for entry in found]
    known.save()
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[str, str]:
    return row["source"], row["path"]


def _row(entry: Entry, memo: Memo, most: float) -> Row:
    hashed = None if entry.problem or entry.size > most else _hash(entry, memo)
    return {"source": entry.source, "path": entry.path, "bytes": entry.size, "sha256": hashed}


def _hash(entry: Entry, memo: Memo) -> str:
    key = f"{entry.source}|{entry.path}|{entry.size}|{entry.mark}"
    known: str | None = memo.get(key) if entry.mark else None
    if known:
        return known
    found = sha256_file(entry.local) if entry.local else hashlib.sha256(entry.read()).hexdigest()
    if entry.mark:
        memo.put(key, found)
    return found


def read(lock: Path) -> list[Row]:
    """The rows of the lock file; none where there is no file."""
    return read_jsonl(lock) if lock.is_file() else []


def difference(before: Iterable[Row], now: Iterable[Row]) -> Difference:
    """What came, went or changed between two lists of rows."""
    old, new = ({_place(row): row for row in rows} for rows in (before, now))
    return Difference(
        added=[row for place, row in new.items() if place not in old],
        removed=[row for place, row in old.items() if place not in new],
        changed=[row for place, row in new.items() if place in old and row["sha256"] != old[place]["sha256"]],
    )

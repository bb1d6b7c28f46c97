"""What the sources hold, by content, and what differs from the last time; only new files are read."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.data import Ingest
from anime_lora.data.memo import Memo
from anime_lora.data.sources.ignored import without_ignored
from anime_lora.data.sources.listing import in_reading_order, list_all
from anime_lora.data.sources.source_file import SourceFile, stem
from anime_lora.files import read_rows, sha256_file

MEMO = paths.CACHE / "watch" / "memo.jsonl"


@dataclass(frozen=True)
class FileHash:
    """A file of a source, and the hash of its content: a row of the lock file."""

    source: str
    path: str
    bytes: int
    sha256: str | None
    """None of a file that ingest would reject unread, or that cannot be read."""

    @property
    def place(self) -> tuple[str, str]:
        """Where it lies; the order of the lock file."""
        return self.source, self.path


@dataclass(frozen=True)
class SourceChanges:
    """Files that were added, removed, or have other content."""

    added: list[FileHash]
    removed: list[FileHash]
    changed: list[FileHash]

    @property
    def images(self) -> int:
        """Images concerned: one and its caption file count once, a table of captions counts as one."""
        return _count_images([*self.added, *self.removed, *self.changed])

    def summary(self) -> str:
        """Such as `3 added, 1 changed`; empty without a difference. An image with its caption counts once."""
        counts = {kind: _count_images(files) for kind, files in self._by_kind().items()}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)

    def table(self) -> list[dict[str, str]]:
        """One row per file, for people."""
        return [
            {"what": kind, "source": file.source, "path": file.path}
            for kind, files in self._by_kind().items()
            for file in files
        ]

    def _by_kind(self) -> dict[str, list[FileHash]]:
        return {"added": self.added, "changed": self.changed, "removed": self.removed}


def _count_images(files: list[FileHash]) -> int:
    return len({(file.source, stem(file.path)) for file in files})


def hash_sources(section: Ingest, memo: Path = MEMO) -> list[FileHash]:
    """Every file of the sources, sorted; one whose place, size and version are as before is not read again.

    Raises:
        SourceError: a source cannot be listed, or holds more than `ingest.max_files`.
    """
    hashes = Memo(memo, str)
    limit = section.max_file_mb * 2**20
    listed = without_ignored(list_all(section))
    files = []
    for number in in_reading_order(listed):
        file = listed[number]
        digest = None if file.problem or file.size > limit else _hash(file, hashes)
        files.append(FileHash(file.source, file.path, file.size, digest))
    hashes.save()
    return sorted(files, key=lambda file: file.place)


def _hash(file: SourceFile, hashes: Memo[str]) -> str | None:
    """Hex sha256 of its content; None where it cannot be read, such as a damaged member of an archive."""
    key = f"{file.source}|{file.path}|{file.size}|{file.version}"
    known = hashes.get(key) if file.version else None
    if known:
        return known
    try:
        digest = sha256_file(file.local) if file.local else hashlib.sha256(file.read()).hexdigest()
    except Exception:  # archives and remote file systems have errors of their own
        return None
    if file.version:
        hashes.put(key, digest)
    return digest


def read_lock(lock: Path) -> list[FileHash]:
    """The rows of the lock file; none where there is no file."""
    return read_rows(lock, FileHash) if lock.is_file() else []


def compare(before: Iterable[FileHash], now: Iterable[FileHash]) -> SourceChanges:
    """What was added, removed or changed between two scans of the sources."""
    old, new = ({file.place: file for file in files} for files in (before, now))
    return SourceChanges(
        added=[file for place, file in new.items() if place not in old],
        removed=[file for place, file in old.items() if place not in new],
        changed=[file for place, file in new.items() if place in old and file.sha256 != old[place].sha256],
    )

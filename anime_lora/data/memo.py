"""What was computed of a file before, kept outside the stages' outputs so that only a new image is opened."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from pydantic import ValidationError, create_model

from anime_lora.files import full_disk_named, intact_stamp, jsonl_line, write_jsonl

Value = TypeVar("Value")


class Stamped(Protocol):
    """A value about a file that was made: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def stamp(self) -> str:
        """`files.stamp` of that file."""


AnyStamped = TypeVar("AnyStamped", bound=Stamped)


class Memo(Generic[Value]):
    """A key-value file of JSON lines; each value is on the disk as soon as it is put in, so that a kill loses none.

    The last line of a key counts. A line that is broken, of a kill or a full disk, is left out.

    Args:
        path: the file.
        value_type: what the values are; a dataclass, a union of dataclasses, or a plain type.
    """

    def __init__(self, path: Path, value_type: type[Value]) -> None:
        self.path = path
        self.fresh = 0
        """How many values were put in."""
        self._values: dict[str, Value] = {}
        self._appending = False
        self._stale = False
        """Whether the file holds lines that no longer count, as many as others."""
        self._load(value_type)

    def _load(self, value_type: type[Value]) -> None:
        entry: Any = create_model("Entry", key=(str, ...), value=(value_type, ...))
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError:
            return
        count = 0
        for line in filter(None, lines):
            count += 1
            try:
                row = entry.model_validate_json(line)
            except ValidationError:
                continue
            self._values[row.key] = row.value
        self._stale = count > 2 * len(self._values)

    def get(self, key: str) -> Value | None:
        """The value of `key`, None where there is none."""
        return self._values.get(key)

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def put(self, key: str | None, value: Value) -> None:
        """Count a value as fresh and store it; with None for a key it is only counted."""
        self.fresh += 1
        if key is not None:
            self.replace(key, value)

    def replace(self, key: str, value: Value) -> None:
        """Store a value, also in the file.

        Raises:
            FullDiskError: the disk is full.
        """
        self._values[key] = value
        line = jsonl_line({"key": key, "value": value}).encode()
        if not self._appending:
            self._appending = True
            self.path.parent.mkdir(parents=True, exist_ok=True)
            line = b"\n" + line  # ends a line that was cut short
        with full_disk_named(self.path.parent, len(line)), self.path.open("ab", buffering=0) as stream:
            if stream.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def intact(self, key: str, known: AnyStamped, file: Path, sha256: str) -> AnyStamped | None:
        """`known`, with the stamp that the file has now; None where the file has to be made again.

        Args:
            key: of `known`.
            known: a value of this memo.
            file: what it is about.
            sha256: hex sha256 of what was written; asked only where the stamp is another.

        Raises:
            FullDiskError: the disk is full.
        """
        now = intact_stamp(file, known.stamp, sha256)
        if now is not None and now != known.stamp:
            known = replace(known, stamp=now)
            self.replace(key, cast(Value, known))
        return known if now else None

    def save(self) -> None:
        """Write the file anew where it holds many lines that no longer count."""
        if self._stale:
            write_jsonl(self.path, ({"key": key, "value": value} for key, value in sorted(self._values.items())))
            self._stale = False

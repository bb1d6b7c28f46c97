"""What was computed of a file before, kept outside the stages' outputs so that only a new image is opened."""

from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from anime_lora.files import read_jsonl, write_jsonl

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """A key-value file of JSON lines; a broken or missing file counts as empty.

    Args:
        path: the file.
        value_type: what the values are; a dataclass, a union of dataclasses, or a plain type.
    """

    def __init__(self, path: Path, value_type: type[Value]) -> None:
        self.path = path
        self.fresh = 0
        """How many values were put in."""
        self._values: dict[str, Value] = {}
        adapter = TypeAdapter(value_type)
        try:
            self._values = {row["key"]: adapter.validate_python(row["value"]) for row in read_jsonl(path)}
        except (OSError, KeyError, TypeError, ValueError):
            self._values = {}

    def get(self, key: str) -> Value | None:
        """The value of `key`, None where there is none."""
        return self._values.get(key)

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def put(self, key: str, value: Value) -> None:
        """Store a value."""
        self._values[key] = value
        self.fresh += 1

    def save(self) -> None:
        """Write the file when something changed."""
        if self.fresh:
            write_jsonl(self.path, ({"key": key, "value": value} for key, value in sorted(self._values.items())))

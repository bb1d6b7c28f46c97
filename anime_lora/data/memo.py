"""What was learned about a file before, kept outside the stages' outputs so that only a new image is opened."""

import json
from pathlib import Path
from typing import Any

from anime_lora.files import read_jsonl, write_jsonl


class Memo:
    """A small key-value file of JSON rows; broken or missing files count as empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = 0
        self._rows: dict[str, Any] = {}
        try:
            self._rows = {row["key"]: row["value"] for row in read_jsonl(path)}
        except (OSError, json.JSONDecodeError, KeyError, UnicodeDecodeError):
            self._rows = {}

    def get(self, key: str) -> Any | None:
        """What was stored under `key`, or None."""
        return self._rows.get(key)

    def put(self, key: str, value: Any) -> None:
        """Store a JSON-able `value`; counted as made anew."""
        self._rows[key] = value
        self.fresh += 1

    def save(self) -> None:
        """Write the file when something changed."""
        if self.fresh:
            write_jsonl(self.path, ({"key": key, "value": value} for key, value in sorted(self._rows.items())))

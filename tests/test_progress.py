"""Progress is only shown: a failure to write it never ends the work."""

import errno
import json
from pathlib import Path

import pytest

from anime_lora.config import paths
from anime_lora.progress import Progress


def test_a_full_disk_costs_the_progress_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last whole file stays, nothing half-written is left, and the work counts on."""
    monkeypatch.chdir(tmp_path)
    with Progress("s", "count", 3) as progress:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", _full)
            progress.update(1)
            progress._write()
        assert [file.name for file in paths.PROGRESS.iterdir()] == ["s.json"]
        assert json.loads((paths.PROGRESS / "s.json").read_text())["done"] == 0
        progress.update(2)
    assert json.loads((paths.PROGRESS / "s.json").read_text())["done"] == 3


def _full(path: Path, text: str) -> None:
    path.write_bytes(text.encode()[:5])
    raise OSError(errno.ENOSPC, "No space left on device")

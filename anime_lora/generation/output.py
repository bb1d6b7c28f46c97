"""The output folder: numbered images that never replace one, and a line of images.jsonl for each."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from anime_lora.config import paths
from anime_lora.errors import OutputError
from anime_lora.files import write_bytes
from anime_lora.generation.job import Job

ROWS = "images.jsonl"


class OutputFolder:
    """A folder that gets images under the next free numbers.

    Raises:
        OutputError: it is a file, or a stage's folder, which is emptied when the stage runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        where = path.resolve()
        stage = next((folder for folder in paths.WRITES if where.is_relative_to(folder.resolve())), None)
        if stage or where.is_relative_to(paths.CACHE.resolve()):
            raise OutputError(f"--out {path} lies in {stage or paths.CACHE}, which runs empty: use --out generated")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {path} cannot be made ({error.strerror}): name another folder") from error
        self._numbers = {"": 0, "grid-": 0}
        for file in path.iterdir():
            if match := re.match(r"(grid-)?(\d{1,9})[-.]", file.name):
                beginning = match[1] or ""
                self._numbers[beginning] = max(self._numbers[beginning], int(match[2]))

    def save(self, content: bytes, ending: str, beginning: str = "") -> Path:
        """Write a file under the next free number: `<beginning><number><ending>`."""
        while True:
            self._numbers[beginning] += 1
            file = self.path / f"{beginning}{self._numbers[beginning]:05d}{ending}"
            try:
                file.touch(exist_ok=False)  # another process may count up in the same folder
            except FileExistsError:
                continue
            except OSError as error:
                raise OutputError(f"{file} cannot be written ({error.strerror}): name another --out") from error
            write_bytes(file, content)
            return file

    def note(self, file: Path, job: Job, more: Mapping[str, str | float]) -> None:
        """Add an image's line to images.jsonl."""
        values = asdict(job)
        values["loras"] = [
            {
                "file": str(choice.lora.file),
                "name": choice.lora.name,
                "weight": choice.weight,
                "text_weight": choice.text_weight,
                "sha256": choice.lora.sha256,
            }
            for choice in job.loras
        ]
        line = json.dumps({"file": file.name, **values, **more}, sort_keys=True, ensure_ascii=False, default=str)
        with (self.path / ROWS).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

"""The validate task."""

import subprocess
import sys
import tempfile
from pathlib import Path

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from anime_lora.data.dataset_diff import compare, read_version
from anime_lora.files import read_jsonl
from tasks.artifacts import show_table
from tasks.dvc_process import Need, Outcome, environment
from tasks.stage_run import run_stage, stage_task

COLUMNS = ("source", "path", "check", "value", "limit", "reason")


@stage_task("validate")
def validate(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring validate up to date; show what was set aside and why."""
    return run_stage("validate", limit, need, show)


def show() -> None:
    """Tables `rejects` (every file that is not used, with the reason) and `dataset-changes`."""
    rows = read_jsonl(paths.VALIDATE / "quarantine.jsonl")
    shown = [{name: row.get(name) for name in COLUMNS} for row in rows]
    show_table(shown, "rejects", f"{len(rows)} files are not used, and why")
    show_changes()


def show_changes() -> None:
    """Table `dataset-changes`: this version against the last committed one; nothing where none is committed."""
    with tempfile.TemporaryDirectory() as folder:
        before = committed(Path(folder) / paths.MANIFEST)
        if before is not None:
            changes = compare(read_version(before), read_version(paths.VALIDATE))
            words = f"Since the last committed version of {changes.before} images: {changes.summary()}"
            show_table(changes.table(), "dataset-changes", words)


def committed(target: Path, revision: str = "HEAD") -> Path | None:
    """Validate's manifest as `dvc.lock` of a Git revision names it, put at `target` from DVC's cache or remote.

    None where that revision has no such version, or its files are gone.
    """
    wanted = [str(paths.VALIDATE / paths.MANIFEST), "--rev", revision, "-o", str(target)]
    command = [sys.executable, "-m", "dvc", "get", "-q", ".", *wanted]
    ran = subprocess.run(command, capture_output=True, env=environment(), check=False)
    return target if ran.returncode == 0 and target.is_file() else None

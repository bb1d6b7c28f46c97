"""A stage inside a Prefect task: its lines in the run's log, its progress as an artifact, its result as a state."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from httpx import HTTPError
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.settings import temporary_settings
from prefect.states import Cancelled, Completed

from anime_lora.config import paths
from tasks.cancel import CancelWatch
from tasks.dvc_internals import UNCHANGED
from tasks.dvc_process import StageResult, bring_up_to_date
from tasks.errors import RunCancelledError

INTERVAL = 3.0
"""Seconds between two looks at a stage's progress file."""
COUNTS = {"stage", "description", "done", "total", "seconds", "eta_seconds"}
"""Keys of a progress file that are not values of the work itself."""

Mode = Literal["auto", "skip", "force"]
"""Whether a stage runs: DVC decides, it is known to be unchanged, or it runs in any case."""
Body = Callable[[float | None, Mode], State[StageResult]]


def stage_task(name: str) -> Callable[[Body], Any]:
    """Decorator for a stage's task.

    Prefect's own cache does not look at files, DVC's does; stages are deterministic, so by default no retry.
    """
    decorator: Callable[[Body], Any] = task(
        name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, retries=0
    )
    return decorator


class ProgressWatch:
    """Keeps one progress artifact at what `.cache/progress/<stage>.json` says; to be called often.

    `key` names the artifact where it is not the stage's own. A server that is away is not waited for and does not
    fail the stage: the next call shows what this one did not.
    """

    def __init__(self, stage: str, key: str | None = None) -> None:
        self.path, self.key = Path(paths.PROGRESS) / f"{stage}.json", f"progress-{key or stage}"
        self._artifact: UUID | None = None
        self._next, self._text = 0.0, ""
        self.path.unlink(missing_ok=True)

    def __call__(self, last: bool = False) -> None:
        """Read the file, unless that was done less than `INTERVAL` ago; `last` reads it in any case."""
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + INTERVAL
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        if text != self._text:
            # Without retries: their waits would hold up the stage, whose output is read in this thread.
            with suppress(HTTPError), temporary_settings({"client.max_retries": 0}):
                self._show(json.loads(text))
                self._text = text

    def _show(self, progress: dict[str, Any]) -> None:
        percent, text = 100.0 * progress["done"] / max(progress["total"], 1), progress_text(progress)
        if self._artifact is None:
            artifact = create_progress_artifact(percent, key=self.key, description=text)
            self._artifact = cast(UUID, artifact)
        else:
            update_progress_artifact(self._artifact, progress=percent, description=text)


def progress_text(progress: dict[str, Any]) -> str:
    """One sentence for a progress file, such as `training: 120/300, about 60 s left, loss 0.1`."""
    values = "".join(f", {key} {value}" for key, value in progress.items() if key not in COUNTS)
    known = progress["done"] < progress["total"] and progress["eta_seconds"] > 0  # 0 before the first step
    left = f", about {progress['eta_seconds']:.0f} s left" if known else ""
    return f"{progress['description']}: {progress['done']}/{progress['total']}{left}{values}"


def run_stage(stage: str, timeout: float | None, mode: Mode, show_results: Callable[[], None]) -> State[StageResult]:
    """Bring `stage` up to date, then `show_results`; Cached when DVC ran nothing, else Completed.

    A cached stage shows its results too: after a night that failed, the page of the night that concludes is whole.
    Cancelled when somebody cancels the run meanwhile; that is no failure, so it is not tried again.

    Raises:
        StageFailedError: the stage failed or ran past `timeout` seconds; Prefect shows the message in the Failed state.
    """
    logger = get_run_logger()
    if mode == "skip":
        logger.info(UNCHANGED.format(stage))
        result = StageResult(stage, "unchanged", 0.0)
    else:
        progress = ProgressWatch(stage)
        try:
            with CancelWatch(progress) as check_cancelled:
                result = bring_up_to_date(stage, logger.info, check_cancelled, timeout, forced=mode == "force")
        except RunCancelledError as error:
            return Cancelled(message=f"{stage}: {error}")
        progress(last=True)
    show_results()
    if result.action == "unchanged":
        return Completed(name="Cached", message=f"{stage}: nothing it reads has changed", data=result)
    if result.action == "restored":
        return Completed(name="Cached", message=f"{stage}: outputs restored from DVC's cache", data=result)
    return Completed(message=f"{stage}: done in {result.seconds:.0f} s", data=result)

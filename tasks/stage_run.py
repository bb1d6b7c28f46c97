"""A stage inside a Prefect task: its lines in the run's log, its progress as an artifact, its outcome as a state."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
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
from tasks.cancel import Cancel
from tasks.dvc_process import SKIPPED, Need, Outcome, RunCancelledError, bring_up_to_date

EVERY = 3.0
"""Seconds between two looks at a stage's progress."""
COUNTS = {"stage", "description", "done", "total", "seconds", "eta_seconds"}
"""Keys of a progress file that are not values of the work itself."""

Body = Callable[[float | None, Need], State[Outcome]]


def stage_task(name: str) -> Callable[[Body], Any]:
    """Decorator for a stage's task.

    Prefect's own cache does not look at files, DVC's does; stages are deterministic, so by default no retry.
    """
    made: Callable[[Body], Any] = task(
        name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, retries=0
    )
    return made


class Watcher:
    """Keeps one progress artifact at what `.cache/progress/<stage>.json` says; call it as often as you like.

    `key` names the artifact where it is not the stage's own.

    A server that is away is not waited for, and not the stage's fault: the next look shows what this one did not.
    """

    def __init__(self, stage: str, key: str | None = None) -> None:
        self.path, self.key = Path(paths.PROGRESS) / f"{stage}.json", f"progress-{key or stage}"
        self._artifact: UUID | None = None
        self._next, self._seen = 0.0, ""
        self.path.unlink(missing_ok=True)

    def __call__(self, last: bool = False) -> None:
        """Look, unless the last look was just now; `last` looks anyway."""
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + EVERY
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        if text != self._seen:
            with suppress(HTTPError), temporary_settings({"client.max_retries": 0}):
                self._show(json.loads(text))
                self._seen = text

    def _show(self, seen: dict[str, Any]) -> None:
        percent, words = 100.0 * seen["done"] / max(seen["total"], 1), described(seen)
        if self._artifact is None:
            made = create_progress_artifact(percent, key=self.key, description=words)
            self._artifact = cast(UUID, made)
        else:
            update_progress_artifact(self._artifact, progress=percent, description=words)


def described(seen: dict[str, Any]) -> str:
    """One sentence for a progress file, such as `training: 120/300, about 60 s left, loss 0.1`."""
    values = "".join(f", {key} {value}" for key, value in seen.items() if key not in COUNTS)
    known = seen["done"] < seen["total"] and seen["eta_seconds"] > 0  # 0 before the first step of this process
    left = f", about {seen['eta_seconds']:.0f} s left" if known else ""
    return f"{seen['description']}: {seen['done']}/{seen['total']}{left}{values}"


def run_stage(stage: str, limit: float | None, need: Need, show: Callable[[], None]) -> State[Outcome]:
    """Bring `stage` up to date, then `show` its results; Cached when DVC ran nothing, else Completed.

    A cached stage shows them too: after a night that failed, the page of the one that concludes is whole.
    Cancelled when somebody cancels the run meanwhile; that is no failure, so it is not tried again.

    `need` says what is known: nothing, so DVC is asked; that DVC has just found it unchanged and nothing ran since; or
    that it shall run in any case.

    Raises:
        StageFailedError: the stage failed or ran past `limit` seconds; Prefect shows its message in the Failed state.
    """
    logger = get_run_logger()
    if need == "none":
        logger.info(SKIPPED.format(stage))
        outcome = Outcome(stage, "unchanged", 0.0)
    else:
        watcher = Watcher(stage)
        try:
            with Cancel(watcher) as ticked:
                outcome = bring_up_to_date(stage, logger.info, ticked, limit, forced=need == "force")
        except RunCancelledError as cancelled:
            return Cancelled(message=f"{stage}: {cancelled}")
        watcher(last=True)
    show()
    if outcome.how == "unchanged":
        return Completed(name="Cached", message=f"{stage}: nothing it reads has changed", data=outcome)
    if outcome.how == "restored":
        return Completed(name="Cached", message=f"{stage}: outputs restored from DVC's cache", data=outcome)
    return Completed(message=f"{stage}: done in {outcome.seconds:.0f} s", data=outcome)

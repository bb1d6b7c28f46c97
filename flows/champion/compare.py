"""Challenger against champion: both measured on tonight's suite and held-out images, then decided by the library."""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from anime_lora.config import paths
from anime_lora.config.load import load_params
from flows.champion import store
from tasks.cancel import Cancel
from tasks.dvc_process import listened
from tasks.stage_run import Watcher

AGAIN = paths.CACHE / "champion"
"""Images and scores of the champion on the present suite: work, not a result."""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger wins, why, each test behind it, and the challenger's sha256."""

    promoted: bool
    reason: str
    tests: list[dict[str, Any]] = field(default_factory=list)
    adapter: str = ""


def judge() -> Verdict:
    """Decide between the LoRA just evaluated and the champion.

    Raises:
        ChampionError, StageFailedError: the champion cannot be found or measured.
    """
    from anime_lora.evaluation.promotion import decide  # comes with torch: a night that is skipped does without

    settings, challenger, reigning = load_params(paths.PARAMS).evaluate, store.candidate(), store.present()
    if challenger == reigning:
        return Verdict(False, "the champion stays: training gave the same file again", [], challenger)
    against = None if reigning is None else store.scores(measure_champion())
    decision = decide(store.scores(), against, settings)
    return Verdict(decision.promoted, decision.reason, [asdict(test) for test in decision.tests], challenger)


@task(name="measure-champion", task_run_name="measure-champion", cache_policy=NO_CACHE, persist_result=False)
def measure_champion() -> Path:
    """Measure the champion anew: its old numbers belong to another suite or other held-out images.

    Progress is shown of both parts, generating and encoding.
    """
    command = [sys.executable, "-m", "anime_lora", "rematch", str(store.FOLDER), str(AGAIN)]
    watchers = [Watcher(stage, f"champion-{stage}") for stage in ("validate-sample", "evaluate")]

    def look(last: bool = False) -> None:
        for watcher in watchers:
            watcher(last)

    with Cancel(look) as ticked:
        listened("measuring the champion", command, get_run_logger().info, ticked)
    look(last=True)
    return AGAIN / "evaluate" / "scores.json"

"""Challenger against champion: both measured on this run's suite and held-out images, then decided by the library."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from anime_lora.config import paths
from anime_lora.config.load import load_params
from flows.champion import store
from flows.champion.history import PromotionTest
from tasks.cancel import CancelWatch
from tasks.process_group import stream_command
from tasks.stage_run import ProgressWatch

CHAMPION_WORK = paths.CACHE / "champion"
"""Images and scores of the champion on the present suite: work, not a result."""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger becomes champion, why, every test behind it, and the challenger's sha256."""

    promoted: bool
    reason: str
    tests: tuple[PromotionTest, ...]
    adapter: str


def compare_with_champion() -> Verdict:
    """Decide between the LoRA just evaluated and the champion.

    Raises:
        ChampionError, StageFailedError: the champion cannot be read or measured.
    """
    from anime_lora.evaluation.promotion import Scores, decide  # loads torch, which a run without work does not need

    settings = load_params(paths.PARAMS).evaluate
    challenger, champion = store.trained_sha256(), store.champion_sha256()
    if challenger == champion:
        return Verdict(False, "the champion stays: training gave the same file again", (), challenger)
    theirs = None if champion is None else Scores.model_validate_json(measure_champion().read_bytes())
    ours = Scores.model_validate_json(store.SCORES.read_bytes())
    decision = decide(ours, theirs, settings)
    tests = tuple(PromotionTest(**asdict(condition)) for condition in decision.tests)
    return Verdict(decision.promoted, decision.reason, tests, challenger)


@task(name="measure-champion", task_run_name="measure-champion", cache_policy=NO_CACHE, persist_result=False)
def measure_champion() -> Path:
    """Measure the champion anew; returns its scores' file. Its old numbers are of another suite or held-out set.

    Progress is shown of both parts, generating and encoding.
    """
    command = [sys.executable, "-m", "anime_lora", "rematch", str(store.FOLDER), str(CHAMPION_WORK)]
    watches = [ProgressWatch(stage, f"champion-{stage}") for stage in ("validate-sample", "evaluate")]

    def show_progress(last: bool = False) -> None:
        for watch in watches:
            watch(last)

    with CancelWatch(show_progress) as check_cancelled:
        stream_command("measuring the champion", command, get_run_logger().info, check_cancelled)
    show_progress(last=True)
    return CHAMPION_WORK / "evaluate" / "scores.json"

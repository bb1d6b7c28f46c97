"""One DVC stage brought up to date by `dvc repro`, and what DVC did with it.

`--single-item` neither runs nor checks the stages before: the flow keeps the order.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tasks.dvc_internals import ADVICE, Action, stage_action, unchanged_in
from tasks.process_group import command_environment, stream_command

CHECK = "check"
"""The entry of dvc.yaml that checks the settings before DVC empties any output.

`check` is part of the preflight and none of the seven stages: no task runs it, it comes with `unchanged_stages`.
"""
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
"""The option stands first: DVC takes its lock again after a stage, and would give up after 3 s."""


@dataclass(frozen=True)
class StageResult:
    """What DVC did with a stage, and how many seconds that took."""

    stage: str
    action: Action
    seconds: float


def repro_command(stage: str, forced: bool = False) -> list[str]:
    """`dvc repro` of `stage` alone."""
    force = ["--force"] if forced else []
    return [*DVC, "repro", "--single-item", *force, stage]


def unchanged_stages() -> list[str]:
    """Stages that DVC would skip as they are now, in its order; runs `check`, then asks once for all.

    True of a stage only as long as no stage before it is executed.

    Raises:
        StageFailedError: `check` found something wrong.
    """
    bring_up_to_date(CHECK)
    plan = subprocess.run(
        [*DVC, "repro", "--dry"],
        capture_output=True,
        text=True,
        errors="replace",
        env=command_environment(),
        check=False,
    )
    return unchanged_in(plan.stdout)


def bring_up_to_date(
    stage: str,
    on_line: Callable[[str], None] = lambda line: None,
    on_tick: Callable[[], None] = lambda: None,
    timeout: float | None = None,
    forced: bool = False,
) -> StageResult:
    """Have DVC bring `stage` up to date, or run it in any case when `forced`.

    Raises:
        StageFailedError: as `stream_command` says, which also describes the other arguments.
    """

    def without_advice(line: str) -> None:
        if line.strip() not in ADVICE:
            on_line(line)

    start = time.monotonic()
    lines = stream_command(stage, repro_command(stage, forced), without_advice, on_tick, timeout)
    return StageResult(stage, stage_action(stage, lines), round(time.monotonic() - start, 1))

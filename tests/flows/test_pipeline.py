"""The table of a run's stages, and how long each may take."""

from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows import pipeline
from flows.pipeline import run_chain
from tasks.dvc_process import Outcome, RunCancelledError, StageFailedError


class Stage:
    """A task in pencil; each call notes its limit in seconds."""

    def __init__(self, name: str, end: Any = None) -> None:
        self.name, self.end = name, end
        self.limits: list[float | None] = []

    def with_options(self, **_: Any) -> "Stage":
        """Itself."""
        return self

    def __call__(self, limit: float | None, *_: Any, **__: Any) -> State[Any]:
        """End as told."""
        self.limits.append(limit)
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end or Completed(data=Outcome(self.name, "executed", 2.5))


def chain(monkeypatch: pytest.MonkeyPatch, end: Any = None) -> tuple[Stage, ...]:
    """Three stages, of which the second ends like this."""
    stages = (Stage("ingest"), Stage("train", end), Stage("evaluate"))
    monkeypatch.setattr(pipeline, "CHAIN", stages)
    monkeypatch.setattr(pipeline, "unchanged_stages", list)
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr(pipeline.time, "monotonic", lambda: float(next(clock)))
    return stages


@pytest.mark.parametrize(("end", "raised", "state", "reason"), [
    (StageFailedError("the lamp went out"), StageFailedError, "failed", "the lamp went out"),
    (Cancelled(), RunCancelledError, "cancelled", ""),
    (KeyboardInterrupt(), KeyboardInterrupt, "interrupted", ""),
])  # fmt: skip
def test_every_stage_has_its_line_however_the_run_ends(
    monkeypatch: pytest.MonkeyPatch, end: Any, raised: type[BaseException], state: str, reason: str
) -> None:
    """The one it ended in with the seconds it took; those after it as not run."""
    chain(monkeypatch, end)
    rows: list[dict[str, Any]] = []
    with pytest.raises(raised):
        run_chain(rows, 0, None)
    assert rows == [
        {"stage": "ingest", "state": "executed", "seconds": 2.5, "reason": ""},
        {"stage": "train", "state": state, "seconds": 7.0, "reason": reason},
        {"stage": "evaluate", "state": "not run", "seconds": None, "reason": ""},
    ]


@pytest.mark.parametrize(("minutes", "seconds"), [(None, None), (0, None), (1.5, 90)])
def test_no_minutes_are_no_limit(monkeypatch: pytest.MonkeyPatch, minutes: float | None, seconds: float | None) -> None:
    """0 would end every stage at once, which nobody means."""
    stages = chain(monkeypatch)
    run_chain([], 0, minutes)
    assert [stage.limits for stage in stages] == [[seconds]] * 3

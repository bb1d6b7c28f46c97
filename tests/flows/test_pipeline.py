"""The table of a run's stages, how long each may take, and which stage is forced."""

from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from anime_lora.data.source_diff import FileHash, SourceChanges
from flows import pipeline
from flows.errors import RunCancelledError, StageFailedError
from flows.pipeline import run_chain, stages_to_force
from tasks.dvc_process import StageResult


class Stage:
    """A task without work; each call notes its limit in seconds."""

    def __init__(self, name: str, end: Any = None) -> None:
        self.name, self.end = name, end
        self.limits: list[float | None] = []

    def with_options(self, **_: Any) -> "Stage":
        """Itself."""
        return self

    def __call__(self, limit: float | None, *_: Any, **__: Any) -> State[Any]:
        """Raise or return `end`."""
        self.limits.append(limit)
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end or Completed(data=StageResult(self.name, "executed", 2.5))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The table as the run shows it, where DVC calls no stage unchanged and every look at the clock is 7 s later."""
    shown: list[dict[str, Any]] = []
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr(pipeline.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(pipeline, "unchanged_stages", list)
    monkeypatch.setattr(pipeline, "show_table", lambda table, *_: shown.extend(table))
    return shown


def chain(end: Any = None) -> tuple[Stage, ...]:
    """Three stages, of which the second ends like this."""
    return Stage("ingest"), Stage("train", end), Stage("evaluate")


@pytest.mark.parametrize(("end", "raised", "state", "reason"), [
    (StageFailedError("the lamp went out"), StageFailedError, "failed", "the lamp went out"),
    (Cancelled(), RunCancelledError, "cancelled", ""),
    (KeyboardInterrupt(), KeyboardInterrupt, "interrupted", ""),
])  # fmt: skip
def test_every_stage_has_its_line_however_the_run_ends(
    rows: list[dict[str, Any]], end: Any, raised: type[BaseException], state: str, reason: str
) -> None:
    """The one it ended in with the seconds it took; those after it as not run."""
    with pytest.raises(raised):
        run_chain(0, None, chain=chain(end))
    assert rows == [
        {"stage": "ingest", "state": "executed", "seconds": 2.5, "reason": ""},
        {"stage": "train", "state": state, "seconds": 7.0, "reason": reason},
        {"stage": "evaluate", "state": "not run", "seconds": None, "reason": ""},
    ]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(("minutes", "seconds"), [(None, None), (0, None), (1.5, 90)])
def test_no_minutes_are_no_limit(minutes: float | None, seconds: float | None) -> None:
    """0 would end every stage at once, which nobody means."""
    stages = chain()
    run_chain(0, minutes, chain=stages)
    assert [stage.limits for stage in stages] == [[seconds]] * 3


@pytest.mark.parametrize(("source", "forced"), [("s3://bucket/faces", {"ingest"}), ("faces", set())])
def test_ingest_is_forced_for_what_dvc_cannot_see(source: str, forced: set[str]) -> None:
    """An image that came, went or changed behind a URL; a folder's is DVC's to find."""
    files = [FileHash(source, "1.png", 1, None)]
    for changes in (SourceChanges(files, [], []), SourceChanges([], files, []), SourceChanges([], [], files)):
        assert stages_to_force(changes) == forced
    assert stages_to_force(SourceChanges([], [], [])) == set()

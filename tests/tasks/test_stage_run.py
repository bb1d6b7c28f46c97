"""What a task shows of its stage: progress while it runs, results afterwards."""

import json
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from anime_lora.config import paths
from flows.champion import compare
from tasks import stage_run
from tasks.stage_run import progress_text, run_stage

SEEN = {"stage": "train", "description": "training", "done": 30, "total": 300, "seconds": 10.0, "eta_seconds": 90.0}


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (stage_run, compare):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger(__name__))
    monkeypatch.chdir(tmp_path)


def test_a_cached_stage_shows_its_results_too() -> None:
    """The night before failed later on, so this run's page would lack them."""
    shown: list[str] = []
    state = run_stage("validate", None, "skip", lambda: shown.append("rejects"))
    assert (state.name, shown) == ("Cached", ["rejects"])


def test_no_time_is_named_before_it_is_known() -> None:
    """After the last step there is none either."""
    assert progress_text({**SEEN, "loss": 0.1}) == "training: 30/300, about 90 s left, loss 0.1"
    assert progress_text({**SEEN, "eta_seconds": 0.0}) == "training: 30/300"
    assert progress_text({**SEEN, "done": 300, "eta_seconds": 0.0}) == "training: 300/300"


def test_measuring_the_champion_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generating and encoding, each as an artifact of its own beside the challenger's."""
    shown: dict[str, str] = {}

    def create(_: float, key: str, description: str) -> Any:
        shown[key] = description
        return uuid4()

    def stream_command(*_: object) -> None:
        Path(paths.PROGRESS).mkdir(parents=True)
        for stage in ("validate-sample", "evaluate"):
            text = json.dumps({**SEEN, "stage": stage, "description": stage})
            (Path(paths.PROGRESS) / f"{stage}.json").write_text(text)

    monkeypatch.setattr(stage_run, "create_progress_artifact", create)
    monkeypatch.setattr(compare, "stream_command", stream_command)
    compare.measure_champion.fn()
    words = "30/300, about 90 s left"
    assert shown == {f"progress-champion-{stage}": f"{stage}: {words}" for stage in ("validate-sample", "evaluate")}

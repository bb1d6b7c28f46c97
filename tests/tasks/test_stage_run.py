"""What a task shows of its stage: progress while it runs, results afterwards."""

import logging
from pathlib import Path

import pytest

from tasks import stage_run
from tasks.stage_run import progress_text, run_stage

PROGRESS = {"stage": "train", "description": "training", "done": 30, "total": 300, "seconds": 10.0, "eta_seconds": 90.0}


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stage_run, "get_run_logger", lambda: logging.getLogger(__name__))
    monkeypatch.chdir(tmp_path)


def test_a_cached_stage_shows_its_results_too() -> None:
    """The night before failed later on, so this run's page would lack them."""
    shown: list[str] = []
    state = run_stage("validate", None, "skip", lambda: shown.append("rejects"))
    assert (state.name, shown) == ("Cached", ["rejects"])


def test_no_time_is_named_before_it_is_known() -> None:
    """After the last step there is none either."""
    assert progress_text({**PROGRESS, "loss": 0.1}) == "training: 30/300, about 90 s left, loss 0.1"
    assert progress_text({**PROGRESS, "eta_seconds": 0.0}) == "training: 30/300"
    assert progress_text({**PROGRESS, "done": 300, "eta_seconds": 0.0}) == "training: 300/300"

"""Measuring the champion anew: what people see of it meanwhile."""

import json
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from anime_lora.config import paths
from flows.champion import compare
from tasks import stage_run

PROGRESS = {"stage": "train", "description": "training", "done": 30, "total": 300, "seconds": 10.0, "eta_seconds": 90.0}


def test_measuring_the_champion_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generating and encoding, each as an artifact of its own beside the challenger's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "get_run_logger", lambda: logging.getLogger(__name__))
    shown: dict[str, str] = {}

    def create(_: float, key: str, description: str) -> Any:
        shown[key] = description
        return uuid4()

    def stream_command(*_: object) -> None:
        Path(paths.PROGRESS).mkdir(parents=True)
        for stage in ("validate-sample", "evaluate"):
            text = json.dumps({**PROGRESS, "stage": stage, "description": stage})
            (Path(paths.PROGRESS) / f"{stage}.json").write_text(text)

    monkeypatch.setattr(stage_run, "create_progress_artifact", create)
    monkeypatch.setattr(compare, "stream_command", stream_command)
    compare.measure_champion.fn()
    words = "30/300, about 90 s left"
    assert shown == {f"progress-champion-{stage}": f"{stage}: {words}" for stage in ("validate-sample", "evaluate")}

from pathlib import Path

import pytest

from anime_lora.evaluation import stage
from tests.support.world import Eye, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_encoders", lambda names, device: ([Eye()], []))
    made = World(tmp_path / "data")
    made.teach()
    return made

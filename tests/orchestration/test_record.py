"""What a night leaves in Git, and what the next one makes of it; Git is real, nothing is trained."""

from pathlib import Path

import pytest

from flows import reasons
from orchestration.clone import Clone


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """The folder that the night works in."""
    built = Clone(tmp_path / "project").build()
    monkeypatch.chdir(built.root)
    return built


def test_a_setting_is_due_until_a_decision_is_committed_with_it(clone: Clone) -> None:
    """The stages rewrite dvc.lock on a night that then fails; a decision says when a setting was tried."""
    assert reasons.setting_changes() == ["first run"]
    clone.decide("promoted", "v1.0.0")
    assert reasons.setting_changes() == []
    clone.rank(8, 16)
    clone.commit("Train a smaller LoRA")
    clone.rank(8, 8)
    assert reasons.setting_changes() == ["train.rank 16 → 8"]
    clone.commit("Keep what `dvc repro` wrote")
    assert reasons.setting_changes() == ["train.rank 16 → 8"]
    clone.decide("rejected", "v1.0.0")
    assert reasons.setting_changes() == []

"""The retrain flow in this process, on a project whose first stage fails; Git, DVC and Prefect are real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from anime_lora.data.source_diff import SourceChanges
from flows.champion import record
from flows.champion.triggers import NO_NEW_DATA, Work
from flows.errors import CommandFailedError, PreflightError, StageFailedError
from flows.retrain import retrain, skip
from flows.runtime import overrides
from tests.support.clone import Clone


@pytest.fixture
def prefect(server: str) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: server}):
        yield


@pytest.mark.usefixtures("prefect")
def test_a_run_whose_stage_fails_goes_back_from_its_override(clone: Clone) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(StageFailedError, match="ingest: the lamp went out"):
        retrain(overrides=["train.rank=8"])
    assert Path("params.yaml").read_bytes() == before
    assert not overrides.is_pending()
    assert clone.status() == ""


@pytest.mark.usefixtures("prefect")
def test_a_run_with_work_goes_on_while_a_decision_is_not_sent(clone: Clone) -> None:
    """It sends at its end what the runs before did not."""
    clone.decide("rejected", None)
    clone.git("remote", "set-url", "origin", "../nowhere.git")
    assert "git push" in str(record.settle_earlier_runs())
    with pytest.raises(StageFailedError, match="ingest: the lamp went out"):
        retrain(force="train")


def test_a_run_without_work_fails_while_a_decision_is_not_sent() -> None:
    """Skipped would look well every morning."""
    work = Work(False, NO_NEW_DATA, SourceChanges([], [], []), [])
    state = skip(work, None)
    assert (state.name, state.message, state.is_completed()) == ("Skipped", NO_NEW_DATA, True)
    words = "no new data, but what earlier runs decided is not sent: git push: no route"
    with pytest.raises(CommandFailedError, match=words):
        skip(work, "git push: no route")


def test_an_override_is_checked_like_the_file(clone: Clone) -> None:
    """Of a run that is killed it would be in params.yaml at the next start, which would refuse it every night."""
    with pytest.raises(PreflightError, match=r"ingest.sources: nowhere does not exist"):
        retrain.fn(overrides=["ingest.sources=[nowhere]"])
    assert clone.status() == ""

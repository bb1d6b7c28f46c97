"""What a night decides before anything heavy runs: when it is due, what its record says, whom it tells."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from anime_lora.config.load import read_document
from anime_lora.config.section import Retrain
from anime_lora.errors import ParamsError
from anime_lora.files import write_bytes
from flows.champion import history
from flows.champion.triggers import waits
from flows.runtime import notify
from flows.runtime.overrides import changed, keep, overridden, take_back
from tests.support.nightly import listener

ROOT = Path(__file__).parents[2]
ENTRY = history.Entry(history.now(), "promoted", "better", "schedule", "images: 1 added", "v1.0.0", "a" * 64)
SETTINGS = Retrain(min_new_images=5, max_age_days=30, min_free_disk_gb=0)


@pytest.mark.parametrize(("images", "age", "due"), [
    (0, 100.0, False), (4, 1.0, False), (5, 1.0, True), (1, 30.0, True), (1, None, True), (1, 29.9, False),
])  # fmt: skip
def test_few_images_wait_until_they_are_enough_or_old(images: int, age: float | None, due: bool) -> None:
    """Five are enough at once, one after thirty days, none never; the first night does not wait."""
    assert (waits(images, SETTINGS, age) is None) == due


def test_what_waits_says_for_what() -> None:
    """The message names the count, the limit and the age; without new images it is three words."""
    assert waits(0, SETTINGS, 1.0) == "no new data"
    assert waits(2, SETTINGS, 1.0) == (
        "2 new images wait for retrain.min_new_images = 5 or 30 days of age (1.0 days since the last retraining)"
    )
    never = SETTINGS.model_copy(update={"max_age_days": None})
    assert "days of age" not in str(waits(2, never, 400.0))


def test_a_rollback_takes_the_last_champion_away_and_no_version_is_given_twice() -> None:
    """Promoted, promoted, rejected, rolled back, promoted: the first and the third version stand."""
    second = replace(ENTRY, version="v2.0.0")
    kept, back = replace(second, outcome="rejected"), replace(ENTRY, outcome="rolled back")
    entries = [ENTRY, second, kept, back]
    assert [one.version for one in history.line_of_champions(entries)] == ["v1.0.0"]
    assert history.next_version(entries) == "v3.0.0"
    third = replace(ENTRY, version="v3.0.0")
    assert [one.version for one in history.line_of_champions([*entries, third])] == ["v1.0.0", "v3.0.0"]


def test_history_comes_back_as_written(tmp_path: Path) -> None:
    """Appending keeps what is there."""
    file = tmp_path / "history.jsonl"
    for entry in (ENTRY, replace(ENTRY, tests=[{"kind": "gate"}], overrides=["train.rank=8"])):
        history.append(entry, file)
    assert history.read(file) == [ENTRY, replace(ENTRY, tests=[{"kind": "gate"}], overrides=["train.rank=8"])]


def test_an_override_changes_its_value_and_nothing_else_and_is_taken_back(tmp_path: Path) -> None:
    """Inside the block the file holds the value; after it, also after an error, its old bytes; `keep` makes it last."""
    params, before = tmp_path / "params.yaml", tmp_path / "before"
    text = (ROOT / "params.yaml").read_bytes()
    write_bytes(params, text)
    with pytest.raises(ZeroDivisionError), overridden(["train.rank=8", "retrain.max_age_days=null"], params, before):
        found = read_document(params)
        assert (found["train"]["rank"], found["retrain"]["max_age_days"]) == (8, None)
        raise ZeroDivisionError
    assert params.read_bytes() == text
    with overridden(["train.rank=8"], params, before):
        keep(before)
    assert params.read_text() == changed(text.decode(), ["train.rank=8"])
    take_back(params, before)
    assert read_document(params)["train"]["rank"] == 8


def test_an_edit_made_after_a_kill_is_not_taken_back_with_the_override(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is nobody's to throw away; preflight then asks for its commit, and the log says why."""
    params, before = tmp_path / "params.yaml", tmp_path / "before"
    write_bytes(params, (ROOT / "params.yaml").read_bytes())
    set_once = overridden(["train.rank=8"], params, before)
    set_once.__enter__()
    edited = params.read_text().replace("min_new_images: ", "min_new_images: 1")
    write_bytes(params, edited.encode())
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.overrides"):
        take_back(params, before)
    assert params.read_text() == edited
    assert "was edited after an override" in caplog.text
    assert not before.exists()


@pytest.mark.parametrize(("change", "says"), [
    ("train.rnak=8", "train.rnak is no value of params.yaml"),
    ("train.rank", "is no key=value"),
    ("train.rank=0", "train.rank = 0: input should be greater than or equal to 1"),
    ("train=8", "train is no value"),
])  # fmt: skip
def test_a_wrong_override_is_one_error(change: str, says: str) -> None:
    """The message names the override and what is wrong with it."""
    with pytest.raises(ParamsError, match=says):
        changed((ROOT / "params.yaml").read_text(), [change])


def test_a_webhook_is_told_and_one_that_is_gone_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The event and the text arrive; a failed delivery is a warning in which the address, a secret, does not stand."""
    with listener() as (address, heard):
        monkeypatch.setenv(notify.SETTING, address)
        notify.notify("rejected", "the champion stays")
    assert heard == [{"event": "rejected", "text": "anime-lora rejected: the champion stays"}]
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.notify"):
        monkeypatch.setenv(notify.SETTING, "http://127.0.0.1:9/secret-token")
        notify.notify("rejected", "the champion stays")
        monkeypatch.delenv(notify.SETTING)
        notify.notify("rejected", "the champion stays")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "secret-token" not in caplog.text

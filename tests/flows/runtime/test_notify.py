"""Notifications through a webhook; those through Prefect's blocks need a server: test_crashed_runs, test_retrain."""

import logging

import pytest

from flows.runtime import notify
from tests.support.nightly import webhook


def test_a_webhook_is_notified_and_one_that_is_gone_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The event and the text arrive; a failed delivery is a warning in which the address, a secret, does not stand."""
    with webhook() as (address, received):
        monkeypatch.setenv(notify.SETTING, address)
        notify.notify("rejected", "the champion stays")
    assert received == [{"event": "rejected", "text": "anime-lora rejected: the champion stays"}]
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.notify"):
        monkeypatch.setenv(notify.SETTING, "http://127.0.0.1:9/secret-token")
        notify.notify("rejected", "the champion stays")
        monkeypatch.delenv(notify.SETTING)
        notify.notify("rejected", "the champion stays")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "secret-token" not in caplog.text

"""Prefect's event names and logging, asked of Prefect itself."""

import inspect
import logging
import sys

import pytest
from prefect import flow_engine
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.server.models import events

from flows.errors import ROOTS, StageFailedError
from flows.runtime.prefect_internals import HEARTBEAT_EVENT, RUN_EVENT, hide_tracebacks


def test_heartbeats_and_states_are_events_of_these_names() -> None:
    """The automation waits for them: under other names every run would count as dead, or none."""
    assert f'event="{HEARTBEAT_EVENT}"' in inspect.getsource(flow_engine)
    assert f'event=f"{RUN_EVENT}{{validated_state.name}}"' in inspect.getsource(events)


@pytest.mark.parametrize(("error", "hidden"), [(StageFailedError("no light"), True), (ValueError("a bug"), False)])
def test_the_terminal_shows_no_traceback_of_an_expected_error(
    capsys: pytest.CaptureFixture[str], error: Exception, hidden: bool
) -> None:
    """Of another one, which is a bug, it does."""
    log, handler = logging.getLogger("prefect"), PrefectConsoleHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    try:
        hide_tracebacks(ROOTS)
        try:
            raise error
        except Exception:
            log.exception("the run failed")
    finally:
        log.removeHandler(handler)
    printed = capsys.readouterr().err
    assert "the run failed" in printed
    assert ("Traceback" not in printed) == hidden

"""What rests on Prefect's event names and logging classes, which no interface of it promises; as in Prefect 3.8.8.

`tests/flows/runtime/test_prefect_internals.py` fails when one of them is different.
"""

import copy
import logging

RUN_EVENT = "prefect.flow-run."
"""Begins the name of every event of a run, and of the resource that the event is about."""
HEARTBEAT_EVENT = f"{RUN_EVENT}heartbeat"


def hide_tracebacks(errors: tuple[type[BaseException], ...]) -> None:
    """Keep tracebacks of `errors` out of the terminal; the UI's log still has them.

    Prefect logs the exception that ends a flow with its traceback, and has no setting against it.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    handlers = [handler for name in (None, "prefect") for handler in logging.getLogger(name).handlers]
    for formatter in {h.formatter for h in handlers if isinstance(h, PrefectConsoleHandler) and h.formatter}:
        _hide_in(formatter, errors)


def _hide_in(formatter: logging.Formatter, errors: tuple[type[BaseException], ...]) -> None:
    format_all = formatter.format

    def format_short(record: logging.LogRecord) -> str:
        if record.exc_info and isinstance(record.exc_info[1], errors):
            record = copy.copy(record)
            record.exc_info = record.exc_text = None  # another handler may have written the text already
        return format_all(record)

    formatter.format = format_short  # type: ignore[method-assign]

"""Stopping politely: SIGTERM or SIGINT lets the accumulation group finish and a checkpoint be written."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit code after a signal, with the work saved: the same command goes on from there (sysexits' EX_TEMPFAIL)."""


class StopAskedError(Exception):
    """Someone asked to stop; whoever has work to save catches it and saves."""


class Stop:
    """Whether someone asked to stop: this process, and of several processes any.

    `requested` is this process's own wish and only ever set. Several processes must stop at the same step: `agreed` is
    their common answer at the last step, None before the first.
    """

    def __init__(self) -> None:
        self.requested = False
        self.agreed: bool | None = None

    def request(self, number: int, _: FrameType | None) -> None:
        """Signal handler: the first signal asks, the second leaves at once with 128 + its number."""
        if self.requested:
            os._exit(128 + number)
        self.requested = True
        print("stop asked for: finishing the accumulation group (a second signal leaves at once)", flush=True)

    def check(self) -> None:
        """Raise StopAskedError when a signal came and, where there are several processes, all of them know."""
        if self.requested if self.agreed is None else self.agreed:
            raise StopAskedError


@contextmanager
def listening() -> Iterator[Stop]:
    """A `Stop` that hears SIGTERM and SIGINT within the block (in the main thread; elsewhere it stays silent).

    Raises:
        SystemExit: with `STOPPED`, when the block ended in a StopAskedError.
    """
    stop = Stop()
    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGINT) if main else ()
    before = {number: signal.signal(number, stop.request) for number in signals}
    try:
        yield stop
    except StopAskedError:
        print(f"stopped; run the same command to go on (exit code {STOPPED})", flush=True)
        raise SystemExit(STOPPED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A cancelled run ends its stage itself, also where Prefect's runner does not learn of the cancel.

`python -m flows run` has no runner. One that serves is notified over a socket, and receives nothing more once the
server was shut down regularly and restarted, or after three failed requests while it was away (Prefect 3.8.8).
"""

import threading
from collections.abc import Callable
from types import TracebackType
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from prefect.settings import temporary_settings

from tasks.errors import RunCancelledError

INTERVAL = 2.0
"""Seconds between two requests for the run's state."""
TIMEOUT = 10.0
"""Seconds that a request may take."""


class CancelWatch:
    """`with CancelWatch() as check_cancelled:`; `check_cancelled()` raises once the run of this process is cancelled.

    A thread asks the server, so that one that is slow or away holds nothing up. While the run may go on, the call
    also calls `on_tick`.
    """

    def __init__(self, on_tick: Callable[[], None] = lambda: None) -> None:
        self._on_tick, self._cancelled, self._done = on_tick, threading.Event(), threading.Event()

    def __enter__(self) -> "CancelWatch":
        run = flow_run.get_id()
        if run is not None:  # a task may be called outside a flow
            client = get_client(httpx_settings={"timeout": TIMEOUT}, sync_client=True)
            threading.Thread(target=self._watch, args=(client, UUID(run)), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()

    def __call__(self) -> None:
        """Call `on_tick`.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        if self._cancelled.is_set():
            raise RunCancelledError("the run was cancelled")
        self._on_tick()

    def _watch(self, client: SyncPrefectClient, run: UUID) -> None:
        with client, temporary_settings({"client.max_retries": 0}):  # retries would wait longer than INTERVAL
            while not self._done.wait(INTERVAL):
                if _is_cancelled(client, run):
                    self._cancelled.set()
                    return


def _is_cancelled(client: SyncPrefectClient, run: UUID) -> bool:
    try:
        state = client.read_flow_run(run).state
    except Exception:  # no server now; the run's own calls report that, here it is asked again
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())

"""A cancelled run ends its stage by itself, whoever started it: Prefect's own ear is the runner's, and it may be deaf.

`python -m flows run` has no runner. One that serves is told over a socket and hears nothing more once the server was
restarted in good order, or after three failed looks while it was away.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from prefect.settings import temporary_settings

from tasks.dvc_process import RunCancelledError

EVERY = 2.0
"""Seconds between two looks at the run's state."""
TIMEOUT = 10.0
"""Seconds a look may take."""


class Cancel:
    """`with Cancel() as ticked:`; `ticked()` raises once somebody has cancelled the run of this process.

    A thread asks the server, so that one that is slow or away holds nothing up. While the run may go on, `ticked()`
    calls `also`.
    """

    def __init__(self, also: Callable[[], None] = lambda: None) -> None:
        self._also, self._asked, self._over = also, threading.Event(), threading.Event()

    def __enter__(self) -> "Cancel":
        run = flow_run.get_id()
        if run is not None:  # a task may be called outside a flow
            own = get_client(httpx_settings={"timeout": TIMEOUT}, sync_client=True)
            threading.Thread(target=self._listen, args=(own, UUID(run)), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()

    def __call__(self) -> None:
        """Call `also`.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        if self._asked.is_set():
            raise RunCancelledError("the run was cancelled")
        self._also()

    def _listen(self, client: SyncPrefectClient, run: UUID) -> None:
        with client, temporary_settings({"client.max_retries": 0}):  # whose waits are longer
            while not self._over.wait(EVERY):
                if _cancelled(client, run):
                    self._asked.set()
                    return


def _cancelled(client: SyncPrefectClient, run: UUID) -> bool:
    try:
        state = client.read_flow_run(run).state
    except Exception:  # no server just now, which is for the run's own calls to say: asked again
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())

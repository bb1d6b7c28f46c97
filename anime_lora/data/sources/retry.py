"""Requests that may fail for a moment are tried again, later each time."""

from collections.abc import Callable
from typing import TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

Result = TypeVar("Result")
ATTEMPTS = 4
FIRST_WAIT = 0.5
"""Seconds before the second attempt; twice as long before each further one, and a random part of a second."""
LONGEST_WAIT = 30.0
"""Seconds; also where a server asks for more."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses that another attempt may not meet."""
LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
"""Errors of file systems that another attempt will meet again."""


def with_retries(request: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
    """What `request` returns, tried up to `attempts` times; the last error is raised as it is."""
    retrying = Retrying(
        stop=stop_after_attempt(attempts), wait=_wait, retry=retry_if_exception(_is_passing), reraise=True
    )
    return retrying(request)


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in PASSING
    if isinstance(error, httpx.TransportError):
        return not isinstance(error, httpx.UnsupportedProtocol)
    return isinstance(error, OSError) and not isinstance(error, LASTING)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.response.headers.get("retry-after", "") if isinstance(error, httpx.HTTPStatusError) else ""
    usual: float = (wait_exponential(FIRST_WAIT, LONGEST_WAIT) + wait_random(0, FIRST_WAIT))(state)
    return min(float(asked), LONGEST_WAIT) if asked.isdigit() else usual

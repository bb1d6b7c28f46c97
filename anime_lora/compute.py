"""Where per-image work happens: local processes, or a Dask cluster when an address is set."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from anime_lora.errors import AnimeLoraError

In = TypeVar("In")
Out = TypeVar("Out")
FEW = 24
"""So few items are done in this process: starting workers would take longer."""


@contextmanager
def executor(workers: int, dask_address: str | None) -> Iterator[Executor]:
    """An executor of `workers` processes (0: one per core), or that of the Dask scheduler at `dask_address`.

    Raises:
        AnimeLoraError: Dask is asked for but not installed or not reachable.
    """
    if dask_address is None:
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise AnimeLoraError("compute.dask_address is set but Dask is missing: `pip install distributed`") from error
    try:
        client = Client(dask_address, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise AnimeLoraError(f"compute.dask_address = {dask_address}: no scheduler answers there ({error})") from error
    with client:
        yield client.get_executor()


def ordered(
    function: Callable[[In], Out], items: Iterable[In], workers: int, dask_address: str | None
) -> Iterator[Out]:
    """`map(function, items)` on the executor, results in the order of the items, a bounded number in flight."""
    stream = iter(items)
    first = list(islice(stream, FEW + 1))
    if len(first) <= FEW:
        yield from map(function, first)
        return
    with executor(workers, dask_address) as pool:
        waiting = [pool.submit(function, item) for item in first]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(function, item) for item in islice(stream, 1))

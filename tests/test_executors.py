"""Per-image work: in processes of this machine or on a Dask cluster; what goes wrong is one error."""

import faulthandler
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


def die_on(item: tuple[int, Path | None]) -> int:
    """Ends its own process by a signal of the item's number, once only where a marker file can be left."""
    number, marker = item
    if number < 0 and not (marker and marker.exists()):
        if marker:
            marker.touch()
        faulthandler.disable()  # pytest's, whose pages would hide other lines
        os.kill(os.getpid(), -number)
        time.sleep(60)
    return number


@pytest.mark.parametrize("count", [3, 120], ids=["few", "many"])
@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT]])
def test_an_item_that_ends_its_worker_is_set_aside_and_the_others_go_on(count: int, signals: list[int]) -> None:
    items: list[tuple[int, Path | None]] = [(number, None) for number in range(count)]
    for place, number in enumerate(signals):
        items.insert(place * len(items) // 2, (-number, None))
    results = dict(map_unordered(die_on, items, 2, None, on_death=lambda item: 1000 - item[0]))
    assert [results[place] for place in range(len(items))] == [n if n >= 0 else 1000 - n for n, _ in items]


def test_an_item_whose_worker_is_ended_once_is_done_the_second_time(tmp_path: Path) -> None:
    items: list[tuple[int, Path | None]] = [(number, None) for number in range(60)]
    results = dict(
        map_unordered(die_on, [*items, (-signal.SIGKILL, tmp_path / "dead")], 2, None, on_death=lambda item: 1000)
    )
    assert results[60] == -signal.SIGKILL
    assert len(results) == 61


def test_workers_that_die_whatever_they_are_given_are_one_error() -> None:
    with pytest.raises(AnimeLoraError, match=r"set compute\.workers"):
        list(map_unordered(signal.raise_signal, [signal.SIGKILL] * 100, 2, None, on_death=lambda item: None))


def test_a_local_worker_ended_from_outside_is_one_error() -> None:
    with pytest.raises(AnimeLoraError, match=r"set compute\.workers"):
        list(map_unordered(signal.raise_signal, [signal.SIGKILL] * 100, 2, None))


@pytest.mark.slow
def test_an_item_that_ends_dask_workers_is_set_aside_and_the_others_go_on(cluster: Cluster) -> None:
    """Dask tries it on four workers, which the nanny starts anew, and then once more."""
    cluster.worker("--nanny")
    items: list[tuple[int, Path | None]] = [(number, None) for number in range(40)]
    items.insert(5, (-signal.SIGKILL, None))
    results = dict(map_unordered(die_on, items, 0, cluster.address, on_death=lambda item: 1000))
    assert [results[place] for place in range(41)] == [*range(5), 1000, *range(5, 40)]


@pytest.mark.parametrize(
    ("workers", "memory", "count"), [(0, 0, 8), (0, 100, 8), (0, 250, 4), (0, 5000, 1), (6, 250, 6)]
)
def test_no_more_processes_are_started_than_the_memory_holds(
    workers: int, memory: int, count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless a person sets their number: then it is said."""
    monkeypatch.setattr(executors.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(executors, "free_memory", lambda: 1000)
    assert executors.worker_count(workers, memory) == count
    assert ("compute.workers" in capsys.readouterr().out) == (memory > 125)


def test_free_memory_is_that_of_the_container_where_it_is_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executors, "CGROUP", tmp_path)
    machine = executors.free_memory()
    (tmp_path / "memory.current").write_text("3000000\n")
    for text, free in [("5000000\n", 2_000_000), ("1000000\n", 0), ("max\n", machine)]:
        (tmp_path / "memory.max").write_text(text)
        assert executors.free_memory() == pytest.approx(free, rel=0.5)

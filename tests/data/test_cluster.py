"""Per-image work on a Dask cluster: the same bytes as with local processes, also when a worker dies."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anime_lora import executors
from anime_lora.errors import AnimeLoraError
from anime_lora.executors import ordered
from tests.data.conftest import Project
from tests.support.dask_cluster import Cluster

IMAGES = 150
DONE = 30
"""So many squares are made before a worker is killed."""
DATA = Path("data")


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    with Cluster(tmp_path_factory.mktemp("cluster") / "cluster") as running:
        yield running


def on(project: Project, address: str | None) -> None:
    """Send the per-image work to `address`."""
    project.compute = project.compute.model_copy(update={"dask_address": address, "workers": 2})


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_resize_changes_no_byte(
    project: Project, cluster: Cluster, tree: Callable[[Path], dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers, one ended by SIGKILL while squares are still missing: the dataset is that of local processes."""
    project.add(IMAGES)
    project.all()
    local = tree(DATA)
    shutil.rmtree(DATA)
    shutil.rmtree(".cache")

    on(project, cluster.address)
    victim, _ = cluster.worker(), cluster.worker()
    project.ingest()
    project.validate()
    seen: list[int] = []

    def kill() -> None:
        while (made := len(list(Path(".cache/resize").glob("*/*.png")))) < DONE:
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)
        seen.append(made)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    project.resize()
    killer.join(timeout=10)
    project.organize()
    assert victim.wait(10) == -signal.SIGKILL
    assert DONE <= seen[0] < IMAGES, "killed when all was done"
    assert f"resize: {IMAGES} images, {IMAGES} made anew, 0 reused" in capsys.readouterr().out
    assert tree(DATA) == local


@pytest.mark.slow
def test_a_cluster_without_workers_is_one_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 1.0)
    with pytest.raises(AnimeLoraError, match="has no worker"):
        list(ordered(abs, range(100), 0, cluster.address))


@pytest.mark.slow
def test_a_worker_that_would_make_other_bytes_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    """Other code, other packages or an absent folder give other images without an error: it is said first."""
    cluster.worker()
    monkeypatch.setattr(executors, "version", lambda name: "0.0")
    with pytest.raises(AnimeLoraError, match=r"pillow is .*, here 0\.0"):
        list(ordered(executors.about, range(100), 0, cluster.address))  # type: ignore[arg-type]


def test_no_scheduler_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    monkeypatch.setattr(executors, "PATIENCE", 1.0)
    with pytest.raises(AnimeLoraError, match=r"compute\.dask_address = tcp://127\.0\.0\.1:9: no scheduler"):
        list(ordered(abs, range(100), 0, "tcp://127.0.0.1:9"))


def test_a_local_worker_ended_from_outside_is_one_error() -> None:
    with pytest.raises(AnimeLoraError, match=r"set compute\.workers"):
        list(ordered(signal.raise_signal, [signal.SIGKILL] * 100, 2, None))

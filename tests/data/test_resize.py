import shutil
import signal
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.data import resize
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl
from tests.data.conftest import Project, image
from tests.support.dask_cluster import Cluster

OUT = Path("data/resize")
DATA = Path("data")
IMAGES = 150
DONE = 30
"""So many squares are made before a worker is killed."""


def test_squares_are_rgb_of_the_asked_size_and_hash_as_said(project: Project) -> None:
    project.add(2)
    image(5, mode="L").save(project.source / "grey.png")
    project.ingest()
    project.validate()
    project.resize(size=512)
    for row in read_jsonl(OUT / "manifest.jsonl"):
        square = Image.open(OUT / row["file"])
        assert (square.mode, square.size) == ("RGB", (512, 512))
        assert sha256(square.tobytes()).hexdigest() == row["pixel_sha256"]


def test_fit_and_focus(project: Project) -> None:
    tall = Image.new("RGB", (130, 260), (0, 0, 255))
    tall.paste(image(3, side=128), (1, 0))
    tall.save(project.source / "tall.png")
    project.add(2)
    project.ingest()
    project.validate(max_aspect=2.5, min_sharpness=0)

    def made(**how: object) -> np.ndarray:
        project.resize(**how)
        row = next(row for row in read_jsonl(OUT / "manifest.jsonl") if row["path"] == "tall.png")
        return np.asarray(Image.open(OUT / row["file"])).astype(int)

    blue = lambda pixels: (np.abs(pixels - [0, 0, 255]).sum(-1) < 30).mean()  # noqa: E731
    assert blue(made(focus="face")) < blue(made(focus="center")) - 0.1
    padded = made(fit="pad", background=(9, 9, 9))
    assert (np.abs(padded[:, :10] - 9).max(), np.abs(padded[:, -10:] - 9).max()) == (0, 0)


def test_only_a_new_image_is_made_and_a_lost_square_comes_back(
    project: Project, tree: Callable[[Path], dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    project.add(3)
    project.all()
    before = tree(OUT)
    capsys.readouterr()
    project.resize()
    assert "0 made anew, 3 reused" in capsys.readouterr().out
    next(Path(".cache/resize").rglob("*.png")).unlink()
    project.resize()
    assert "1 made anew" in capsys.readouterr().out
    assert tree(OUT) == before


def test_a_lost_stored_image_says_what_to_run(project: Project) -> None:
    project.add(2)
    project.ingest()
    project.validate()
    next(Path("data/ingest/store").rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="anime_lora ingest"):
        project.resize()
    assert not OUT.exists()


def kill_a_worker_while_resizing(project: Project, cluster: Cluster) -> None:
    """Ingest to resize on two workers, of which one ends by SIGKILL after `DONE` squares."""
    project.compute = project.compute.model_copy(update={"dask_address": cluster.address, "workers": 2})
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
    assert victim.wait(10) == -signal.SIGKILL
    assert DONE <= seen[0] < IMAGES, "killed when all was done"


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_resize_changes_no_byte(
    project: Project, tmp_path_factory: pytest.TempPathFactory,
    tree: Callable[[Path], dict[str, bytes]], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Two workers, one ended by SIGKILL while squares are still missing: the dataset is that of local processes."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    project.add(IMAGES)
    project.all()
    local = tree(DATA)
    shutil.rmtree(DATA)
    shutil.rmtree(".cache")
    capsys.readouterr()
    with Cluster(tmp_path_factory.mktemp("cluster") / "cluster") as cluster:
        kill_a_worker_while_resizing(project, cluster)
    project.organize()
    assert f"resize: {IMAGES} images, {IMAGES} made anew, 0 reused" in capsys.readouterr().out
    assert tree(DATA) == local


def test_an_image_that_gives_no_square_is_set_aside_and_the_others_are_made(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.add(3)
    project.ingest()
    project.validate()
    real = resize.crop_square
    calls = iter(range(100))

    def failing(*values: object) -> Image.Image:
        if next(calls) == 0:
            raise MemoryError
        return real(*values)

    monkeypatch.setattr(resize, "crop_square", failing)
    project.resize()
    assert [row["check"] for row in read_jsonl(OUT / "quarantine.jsonl")] == ["memory"]
    assert len(read_jsonl(OUT / "manifest.jsonl")) == 2
    monkeypatch.setattr(resize, "crop_square", real)
    project.resize()
    assert not (OUT / "quarantine.jsonl").exists()
    assert len(read_jsonl(OUT / "manifest.jsonl")) == 3

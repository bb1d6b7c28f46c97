"""The tiny base and dataset, made once per session; one thread, so that results do not depend on the machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.support.tiny import make_trainer, tiny_pipeline, train_tiny, write_dataset


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums are split by thread: golden numbers need a fixed count, in what a module's tests share too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Stable Diffusion as a diffusers folder."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An organized dataset: six training images, two held out."""
    return write_dataset(tmp_path_factory.mktemp("organize"))


@pytest.fixture
def make(tmp_path: Path, tiny_base: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Makes a trainer on the tiny base; keywords change settings."""
    monkeypatch.chdir(tmp_path)
    return lambda **changes: make_trainer(tiny_base, dataset, tmp_path, **changes)


@pytest.fixture
def stage(tmp_path: Path, tiny_base: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Runs the train stage in a temporary project and returns its output folder; keywords change settings."""
    monkeypatch.chdir(tmp_path)
    return lambda out="train", organize=dataset, **changes: train_tiny(tiny_base, organize, tmp_path, out, **changes)

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clone import Clone
from tests.support.nightly import Nightly, prefect_server
from tests.support.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project per module: its tests go on from each other."""
    return Project(tmp_path_factory.mktemp("work") / "project").build()


@pytest.fixture
def broken(tmp_path: Path) -> Project:
    """A project of its own, to break."""
    return Project(tmp_path / "project").build()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect server for all tests: a run does not have to start its own."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as address:
        yield address


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory, server: str) -> Nightly:
    """One project per module that retrains: its tests go on from each other."""
    return Nightly(tmp_path_factory.mktemp("work") / "project", PREFECT_API_URL=server).build()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """The folder that the night works in, without data."""
    built = Clone(tmp_path / "project").build()
    monkeypatch.chdir(built.root)
    return built

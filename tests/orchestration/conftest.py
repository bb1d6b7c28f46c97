from pathlib import Path

import pytest

from orchestration.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project per module: its tests go on from each other."""
    return Project(tmp_path_factory.mktemp("work") / "project").build()


@pytest.fixture
def broken(tmp_path: Path) -> Project:
    """A project of its own, to break."""
    return Project(tmp_path / "project").build()

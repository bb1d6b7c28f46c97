"""A server on PostgreSQL by one setting: `PREFECT_SERVER_DATABASE_CONNECTION_URL`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from tests.support.project import Project
from tests.support.service import Service, free_port

pytestmark = pytest.mark.slow
FOLDERS = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/local/bin"), Path("/usr/bin")]
BIN = next((folder for folder in FOLDERS if (folder / "initdb").exists()), None)


@pytest.fixture
def database() -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL; it refuses to run as root, so root becomes the user postgres."""
    if BIN is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user, port = "postgres" if os.geteuid() == 0 else None, free_port()
    with TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)

        def postgres(program: str, *options: str) -> None:
            subprocess.run([BIN / program, "-D", f"{folder}/data", *options], check=True, user=user, cwd=folder)

        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        postgres("initdb", "--auth=trust", "--username=prefect", "--no-sync")
        postgres("pg_ctl", "start", "-w", "-l", f"{folder}/log", "-o", settings)
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            postgres("pg_ctl", "stop", "-m", "immediate")


def test_the_server_keeps_what_it_knows_in_postgresql(tmp_path: Path, database: str) -> None:
    """The automation written before a restart is read after it, and no SQLite file exists."""
    project = Project(tmp_path / "project").build()
    with Service(project, PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as nightly:
        server = nightly.server()
        nightly.command("flows", "install-automations")
        for process in (*psutil.Process(server.pid).children(recursive=True), server):
            process.kill()
        server.wait()
        nightly.server()
        assert [one["name"] for one in nightly.api("automations/filter")] == ["anime-lora: no heartbeat"]
    assert not list((project.root / ".prefect").glob("*.db"))

"""Versions travel through a DVC remote: pushed here, pulled where the cache is empty, with the same bytes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from anime_lora.files import write_jsonl
from flows.errors import PreflightError
from flows.runtime.dvc import check_remote
from tasks.stages import committed_manifest
from tests.house.doors import ROOT

MANIFEST = Path("data/validate/manifest.jsonl")
PIPELINE = """stages:
  validate:
    cmd: python version.py
    deps: [rows.jsonl]
    outs: [data/validate]
"""
COPY = """import pathlib, shutil
folder = pathlib.Path("data/validate")
folder.mkdir(parents=True, exist_ok=True)
shutil.copy("rows.jsonl", folder / "manifest.jsonl")
"""
SECRET = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_DEFAULT_REGION": "us-east-1"}


class Repository:
    """A Git and DVC repository with one stage that writes validate's manifest, committed at one version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "dvc.yaml").write_text(PIPELINE)
        (root / "version.py").write_text(COPY)
        for command in (
            ["git", "init", "-q"],
            ["git", "config", "user.name", "a"],
            ["git", "config", "user.email", "b"],
        ):
            self.run(*command)
        self.dvc("init", "-q")
        self.version(3)

    def run(self, *command: str) -> str:
        """Run a command here; its output."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **SECRET, "PATH": path, "DVC_NO_ANALYTICS": "true"}
        ran = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def dvc(self, *words: str) -> str:
        """Run DVC here."""
        return self.run(sys.executable, "-m", "dvc", *words)

    def version(self, count: int) -> None:
        """Make and commit a version of `count` images."""
        write_jsonl(self.root / "rows.jsonl", ({"id": f"{n:064x}"} for n in range(count)))
        self.dvc("repro", "-q")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", f"{count} images")

    def lose(self) -> None:
        """What a fresh clone lacks: cache and outputs."""
        shutil.rmtree(self.root / ".dvc/cache")
        shutil.rmtree(self.root / "data")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "project")


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an S3-compatible server with an empty bucket `versions`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="x"
    ).create_bucket(Bucket="versions")
    yield address
    server.stop()


def travels(repository: Repository) -> None:
    wanted = (repository.root / MANIFEST).read_bytes()
    repository.dvc("push")
    assert "in sync" in repository.dvc("status", "--cloud")
    repository.lose()
    repository.dvc("pull")
    assert (repository.root / MANIFEST).read_bytes() == wanted
    repository.dvc("status")


def test_a_local_folder_is_a_remote(repository: Repository, tmp_path: Path) -> None:
    repository.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    travels(repository)
    assert any((tmp_path / "store").rglob("*"))


@pytest.mark.slow
def test_an_s3_bucket_is_a_remote(repository: Repository, bucket: str) -> None:
    """Against a server that speaks S3; the keys come from the environment and stand in no file."""
    repository.dvc("remote", "add", "-d", "store", "s3://versions/anime-lora")
    repository.dvc("remote", "modify", "store", "endpointurl", bucket)
    travels(repository)
    assert "not-a-secret" not in "".join(file.read_text() for file in (repository.root / ".dvc").glob("config*"))
    found = boto3.client(
        "s3", endpoint_url=bucket, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="x"
    ).list_objects_v2(Bucket="versions")
    assert found["KeyCount"] >= 2


def test_the_last_committed_version_is_found_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the flow compares with: HEAD's manifest while the folder already holds a newer one; none is None."""
    monkeypatch.chdir(repository.root)
    before = MANIFEST.read_bytes()
    write_jsonl(Path("rows.jsonl"), [{"id": "another"}])
    repository.dvc("repro", "-q")
    assert MANIFEST.read_bytes() != before
    manifest = committed_manifest(tmp_path / "old.jsonl")
    assert manifest is not None
    assert manifest.read_bytes() == before
    assert committed_manifest(tmp_path / "none.jsonl", "no-such-revision") is None


@pytest.mark.parametrize(("config", "says"), [
    ("", "remote 'store' doesn't exist"),
    ("['remote \"store\"']\n    url = gs://bucket/faces\n", "requires 'dvc-gs' to be installed"),
    ("['remote \"store\"']\n    url = store\n    keys = a\n", "extra keys not allowed"),
    ("[remote\n", "Invalid line"),
])  # fmt: skip
def test_a_remote_that_is_written_down_wrong_is_told_in_dvcs_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, says: str
) -> None:
    """No traceback, and no night that takes it for none and commits what nobody else can have."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    assert check_remote() is None
    Path(".dvc/config").write_text(f"[core]\n    no_scm = true\n    remote = store\n{config}")
    with pytest.raises(PreflightError, match=says):
        check_remote()


def test_the_documents_name_the_commands_that_are_tested() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for words in (
        "dvc remote add -d store",
        "dvc remote modify store endpointurl",
        "dvc push",
        "dvc pull",
        "dataset-diff",
    ):
        assert words in text

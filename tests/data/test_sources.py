"""The files of a source are listed with what makes them unsafe, and read only when asked for."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from anime_lora.data.sources import SourceFile, list_files
from anime_lora.errors import SourceError

MEMBERS = {"b.png": b"b" * 9, "a/1.png": b"a", "../out.png": b"x", "/abs.png": b"x", "c:\\x.png": b"x"}
SAFE = {"a/1.png", "b.png"}


def files_of(source: Path | str, max_files: int = 100, max_ratio: float = 50) -> dict[str, SourceFile]:
    return {file.path: file for file in list_files(str(source), max_files, max_ratio)}


def write_tar(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)


@pytest.fixture(params=["faces.zip", "faces.tar", "faces.tar.gz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if path.suffix == ".zip":
        write_zip(path)
    else:
        write_tar(path, "w:gz" if path.suffix == ".gz" else "w")
    return path


def test_a_folder_is_listed_by_path_with_its_files_on_disk(tmp_path: Path) -> None:
    for name in ("b.png", "a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    files = files_of(tmp_path)
    assert list(files) == ["a/1.png", "b.png"]
    assert [(file.read(), file.size, file.local) for file in files.values()] == [
        (name.encode(), len(name), tmp_path / name) for name in ("a/1.png", "b.png")
    ]


def test_links_and_special_files_of_a_folder_must_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(b"own")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe.png")
    files = files_of(tmp_path)
    assert {name for name, file in files.items() if file.problem} == {"link.png", "pipe.png"}
    assert files["link.png"].read() == b""


def test_members_of_an_archive_are_read_and_unsafe_names_are_not(archive: Path) -> None:
    files = files_of(archive)
    assert {name for name, file in files.items() if file.problem is None} == SAFE
    assert {name: files[name].read() for name in SAFE} == {name: MEMBERS[name] for name in SAFE}
    assert list(archive.parent.iterdir()) == [archive]


def test_a_link_in_a_zip_must_not_be_read(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/hostname")
    assert files_of(tmp_path / "x.zip")["link.png"].problem == "a link in an archive"


def test_the_version_of_a_file_tells_that_its_content_may_differ(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    before = files_of(tmp_path)["a.png"].version
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert files_of(tmp_path)["a.png"].version == "1" != before


def test_a_url_is_listed_like_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    file = files_of(f"file://{tmp_path}")["a.png"]
    assert (file.read(), file.size, file.local) == (b"a", 1, None)
    assert file.version


def test_more_files_than_allowed_is_one_error(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").touch()
    assert len(files_of(tmp_path, max_files=3)) == 3
    with pytest.raises(SourceError, match=r"more than ingest\.max_files = 2 files"):
        files_of(tmp_path, max_files=2)

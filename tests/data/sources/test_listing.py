"""The files of a source are listed with what makes them unsafe, and read only when asked for."""

import gzip
import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from anime_lora.data.sources.archives import Limits
from anime_lora.data.sources.ignored import ignored_files
from anime_lora.data.sources.listing import in_reading_order, list_files
from anime_lora.data.sources.source_file import Problem, SourceFile
from anime_lora.errors import SourceError

MEMBERS = {"b.png": b"b" * 9, "a/1.png": b"a", "../out.png": b"x", "/abs.png": b"x", "c:\\x.png": b"x"}
SAFE = {"a/1.png", "b.png"}


def files_of(source: Path | str, max_files: int = 100, max_ratio: float = 50) -> dict[str, SourceFile]:
    return {file.path: file for file in list_files(str(source), Limits(max_files, max_ratio))}


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
    assert files_of(tmp_path / "x.zip")["link.png"].problem == Problem("link", "a link in an archive")


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


def test_a_damaged_tar_gives_what_lies_before_the_damage_and_is_named(tmp_path: Path) -> None:
    """At any byte: cut, a flipped byte in the stream, or a head that is none."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(40):
            member = tarfile.TarInfo(f"{number:02d}.png")
            member.size = 4000
            archive.addfile(member, io.BytesIO(os.urandom(4000)))
    plain = path.read_bytes()
    packed = gzip.compress(plain)
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    head = bytearray(plain)
    head[20 * 4608 : 20 * 4608 + 300] = b"x" * 300
    for name, content in {"cut.tar": plain[:100_000], "cut.tar.gz": packed[:100_000], "head.tar": bytes(head)}.items():
        (tmp_path / name).write_bytes(content)
        files = files_of(tmp_path / name)
        assert "the archive is damaged after" in str(files[name].problem)
        assert files["00.png"].read() == plain[512:4512]
        assert 15 < len(files) < 40
    (tmp_path / "flipped.tar.gz").write_bytes(flipped)
    files = files_of(tmp_path / "flipped.tar.gz")
    assert "00.png" in files
    (tmp_path / "whole.tar.gz").write_bytes(packed)
    assert all(file.problem is None for file in files_of(tmp_path / "whole.tar.gz").values())


def test_an_encrypted_member_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"a")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    assert "encrypted" in str(files_of(tmp_path / "x.zip")["a.png"].problem)


def test_names_that_no_list_can_hold_are_escaped_and_their_files_read(tmp_path: Path) -> None:
    names = {b"\x83\x65.png": "\\x83e.png", b"a\nb.png": "a\\nb.png", "c\u2028\x85.png".encode(): "c\\u2028\\x85.png",
             "髪.png".encode(): "髪.png"}  # fmt: skip
    for name in names:
        Path(tmp_path, os.fsdecode(name)).write_bytes(name)
    files = files_of(tmp_path)
    assert {path: file.read() for path, file in files.items()} == {text: name for name, text in names.items()}


def test_a_linked_folder_is_followed_once_and_a_loop_is_said(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    for folder in (source / "own", other):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"a")
    for name, target in {"b": other, "c": other, "loop": source, "up": tmp_path, "inner": source / "own"}.items():
        (source / name).symlink_to(target)
    (other / "back").symlink_to(other)
    files = files_of(source)
    assert {name for name, file in files.items() if not file.problem} == {"own/a.png", "b/a.png"}
    assert {name for name, file in files.items() if file.problem} == {"c", "loop", "up", "inner", "b/back"}
    assert "a link to a folder that is read already" in str(files["loop"].problem)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert files_of(tmp_path)["shut"].problem == Problem(
        "unreadable", "a folder that cannot be read: Permission denied"
    )


def test_what_lies_beside_images_is_ignored_by_its_name() -> None:
    """A mask only where its image is there: alone it may be an image of its own."""
    ignored = ["__MACOSX/._a.png", "a/._b.png", ".DS_Store", "x/Thumbs.db", "a.npz", "a-masklabel.png", "x/B_mask.PNG"]
    images = [
        "a.png",
        "_a.png",
        ".hidden.png",
        "x/b.jpg",
        "c-masklabel.png",
        "gas_mask.png",
        "x/a_mask.png",
        "mask.png",
    ]
    assert sorted(ignored_files(ignored + images)) == sorted(ignored)


def test_a_link_that_leads_upwards_keeps_no_other_link_from_being_followed(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.mkdir()
    other.mkdir()
    (other / "x.png").write_bytes(b"x")
    (source / "above").symlink_to(tmp_path)
    (source / "more").symlink_to(other)
    files = files_of(source)
    assert files["more/x.png"].problem is None
    assert files["above"].problem is not None


def test_an_archive_that_gives_nothing_is_a_row(tmp_path: Path) -> None:
    """Empty, no archive at all, damaged at its first byte, or without a file."""
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("a.png", b"a")
    write_tar(tmp_path / "whole.tar.gz", "w:gz")
    with tarfile.open(tmp_path / "none.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("folder"))
    contents = {
        "empty.zip": b"", "empty.tar.gz": b"", "words.zip": b"no archive", "words.tar": b"no archive" * 99,
        "first.tar.gz": b"x" + (tmp_path / "whole.tar.gz").read_bytes()[1:],
        "cut.zip": (tmp_path / "whole.zip").read_bytes()[:-30],
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        files = files_of(tmp_path / name)
        assert list(files) == [name]
        assert files[name].problem is not None
        assert files[name].problem.code == "damaged"
        assert "cannot be opened as" in files[name].problem.reason


def test_an_archive_is_read_in_its_own_order_and_listed_by_path(tmp_path: Path) -> None:
    names = ["c.png", "a.png", "b.png"]
    for path in (tmp_path / "x.zip", tmp_path / "x.tar.gz"):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name in names:
                    archive.writestr(name, b"x")
        else:
            with tarfile.open(path, "w:gz") as tar:
                for name in names:
                    tar.addfile(tarfile.TarInfo(name))
        files = list(files_of(path).values())
        assert [file.path for file in files] == sorted(names)
        assert [files[number].path for number in in_reading_order(files)] == names


def test_a_tar_that_grows_too_much_is_not_read_to_its_end(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for number in range(5):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = 1 << 20
            archive.addfile(member, io.BytesIO(bytes(1 << 20)))
    files = files_of(tmp_path / "x.tar.gz", max_ratio=50)
    assert {file.problem.code for file in files.values() if file.problem} == {"bomb"}
    assert 1 < len(files) < 5
    assert "what follows is not looked at" in str(files["x.tar.gz"].problem)


@pytest.mark.parametrize(("encoding", "name"), [("utf-8", "髪.png"), ("cp932", "少女.png"), ("gb18030", "女孩.png")])
def test_names_in_a_zip_that_are_not_marked_as_utf_8_are_decoded(tmp_path: Path, encoding: str, name: str) -> None:
    raw = name.encode(encoding)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("n" * len(raw), b"content")
    content = (tmp_path / "x.zip").read_bytes().replace(b"n" * len(raw), raw)
    (tmp_path / "x.zip").write_bytes(content)
    assert files_of(tmp_path / "x.zip")[name].read() == b"content"


def test_of_two_links_to_one_folder_the_same_is_followed_each_time(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    for place in ("a", "b", "c"):
        (source / place).mkdir(parents=True)
    other.mkdir()
    (other / "x.png").write_bytes(b"x")
    for place in ("b", "a", "c"):
        (source / place / "link").symlink_to(other)
    files = files_of(source)
    assert {path: file.problem.code if file.problem else None for path, file in files.items()} == {
        "a/link/x.png": None, "b/link": "loop", "c/link": "loop",
    }  # fmt: skip


def test_a_shuffled_archive_is_unpacked_as_often_as_a_sorted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to list it and once to read it, not once for each member that lies before the last one read."""
    names = [f"{number:03d}.png" for number in range(60)]
    random.Random(1).shuffle(names)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3000
            archive.addfile(member, io.BytesIO(os.urandom(3000)))
    rewinds = []
    real = gzip._GzipReader._rewind
    monkeypatch.setattr(gzip._GzipReader, "_rewind", lambda reader: (rewinds.append(1), real(reader)))
    files = list(files_of(tmp_path / "x.tar.gz").values())
    for number in in_reading_order(files):
        assert len(files[number].read()) == 3000
    assert len(rewinds) <= 2


def test_one_image_may_be_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"a")
    assert {path: file.read() for path, file in files_of(tmp_path / "a.PNG").items()} == {"a.PNG": b"a"}


def test_a_member_compressed_by_another_method_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"a")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[content.index(b"PK\1\2") + 10] = 93
    (tmp_path / "x.zip").write_bytes(content)
    problem = files_of(tmp_path / "x.zip")["a.png"].problem
    assert problem == Problem("format", "compressed by method 93, which is not read here: pack it anew")

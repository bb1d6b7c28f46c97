"""Every file of a source is in exactly one list, whatever the source is and whatever is wrong with the file."""

import io
import os
import random
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from anime_lora.data.manifest import IngestedFile, IngestSummary, Sidecar, read_manifest
from anime_lora.errors import SourceError
from anime_lora.files import read_jsonl
from tests.data.conftest import Project, image

INGEST = Path("data/ingest")


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    image(seed).save(stream, "PNG")
    return stream.getvalue()


def nasty_files(rng: random.Random) -> dict[str, bytes]:
    """Files of every kind that a source may hold, some dozens of them, in folders of odd names."""
    folders = ["", "a/", "髪/", "a/b c/", "__MACOSX/", "A/"]
    names = {
        "ok.png": png(1),
        "OK2.PNG": png(2),
        "twice.png": png(1),
        "cut.png": png(3)[:200],
        "words.jpg": b"words",
        "empty.webp": b"",
        "ok.txt": b"girl",
        "ok2.txt": "少女".encode("cp932"),
        "nobody.txt": b"girl",
        "zero.caption": b"a\0\0\0",
        "metadata.jsonl": b'{"file_name":"ok.png","text":"x"}\n{"file_name":"gone.png","text":"y"}\n',
        "tags.csv": b"no,head\n1,2\n",
        "notes.md": b"words",
        "info.json": b"{}",
        ".DS_Store": b"\0",
        "._ok.png": b"\0",
        "ok.npz": b"PK",
        "ok-masklabel.png": png(4),
        "video.mp4": b"\0\0\0\x20ftypisom",
        "inner.zip": b"PK\3\4",
        "noname": b"?",
        "a\u2028b.png": png(5),
        "NFD\u30ab\u3099.png": png(6),
    }
    return {f"{folder}{name}": content for folder in folders for name, content in names.items() if rng.random() < 0.6}


def add_to_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("../out.png", b"x")


def add_to_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)


def add_to_folder(path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "link.png").symlink_to("/etc/hostname")
    (path / "loop").symlink_to(path)
    (path / "broken.txt").symlink_to("nowhere")
    os.mkfifo(path / "pipe.png")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("seed", range(4))
def test_every_file_is_in_exactly_one_list(project: Project, kind: str, seed: int) -> None:
    files = nasty_files(random.Random(seed)) | {"sure.png": png(9)}
    name = f"nasty.{kind}"
    {"folder": add_to_folder, "zip": add_to_zip, "tar.gz": add_to_tar}[kind](Path(name), files)
    extra = {"folder": ["link.png", "loop", "broken.txt", "pipe.png"], "zip": ["../out.png"], "tar.gz": ["link.png"]}
    project.ingest(sources=(name,))
    rows, sidecars = read_manifest(INGEST, IngestedFile), read_manifest(INGEST, Sidecar)
    listed = Counter([row.path for row in rows] + [one.path for one in sidecars])
    assert listed == Counter([one.replace("\u2028", "\\u2028") for one in files] + extra[kind])
    assert all(row.reason and row.code for row in rows if row.status == "rejected")
    assert all(one.reason for one in sidecars if one.status != "used")
    summary = summary_of(project)
    assert summary.files == len(listed) == sum(summary.images.values()) + sum(summary.sidecars.values())
    assert (
        summary.images["taken"]
        == sum(row.status == "taken" for row in rows)
        == len({row.store for row in rows} - {None})
    )


def summary_of(project: Project) -> IngestSummary:
    import json

    return IngestSummary(**json.loads((project.root / INGEST / IngestSummary.FILE).read_text()))


def test_an_archive_that_gives_nothing_ends_no_run_in_which_others_give_images(project: Project) -> None:
    project.add(2)
    Path("empty.zip").write_bytes(b"")
    Path("words.tar.gz").write_bytes(b"words")
    with zipfile.ZipFile("locked.zip", "w") as archive:
        archive.writestr("a.png", b"a")
    locked = bytearray(Path("locked.zip").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[locked.index(mark) + offset] |= 1
    Path("locked.zip").write_bytes(locked)
    broken = ("empty.zip", "words.tar.gz", "locked.zip")
    project.ingest(sources=("source", *broken))
    codes = {
        (row.source, row.path): row.code for row in read_manifest(INGEST, IngestedFile) if row.status == "rejected"
    }
    assert codes == {
        ("empty.zip", "empty.zip"): "damaged",
        ("words.tar.gz", "words.tar.gz"): "damaged",
        ("locked.zip", "a.png"): "encrypted",
    }
    with pytest.raises(
        SourceError, match=r"no image in empty\.zip, words\.tar\.gz, locked\.zip: 3 files were rejected"
    ) as raised:
        project.ingest(sources=broken)
    assert "\n" not in str(raised.value)


def test_what_is_passed_over_is_counted_and_listed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.add(3)
    (project.source / "001.txt").unlink()
    (project.source / "nobody.txt").write_text("girl")
    (project.source / "000-masklabel.png").write_bytes(png(8))
    (project.source / "metadata.jsonl").write_text('{"file_name":"gone.png","text":"x"}\n')
    (project.source / "tags.csv").write_text("no,head\n")
    project.ingest()
    printed = capsys.readouterr().out
    for line in (
        "1 files ignored by their names",
        "1 caption files that belong to no image",
        "1 rows of tables that name no image",
        "1 images without a caption, where others have one",
        "captions passed over: tags.csv in source: no table of captions",
    ):
        assert line in printed
    summary = summary_of(project)
    assert (summary.files, summary.images, summary.orphan_rows, summary.with_caption) == (9, {"taken": 3}, 1, 2)
    assert summary.without_caption == ["source: 001.png"]
    assert summary.sidecars == {
        "caption orphan": 1,
        "caption used": 2,
        "ignored ignored": 1,
        "table orphan": 1,
        "table unreadable": 1,
    }


def test_where_no_image_has_a_caption_none_is_missing(project: Project) -> None:
    image(1).save(project.source / "a.png")
    project.ingest()
    assert summary_of(project).without_caption == []


def test_sidecars_of_two_sources_are_kept_apart(project: Project) -> None:
    project.add(1)
    other = Path("other")
    other.mkdir()
    image(5).save(other / "000.png")
    (other / "000.txt").write_text("boy")
    project.ingest(sources=("source", "other"))
    captions = {(row.source, row.path): row.caption for row in read_manifest(INGEST, IngestedFile)}
    assert captions == {("source", "000.png"): "girl, number 0", ("other", "000.png"): "boy"}
    assert [(row["source"], row["path"]) for row in read_jsonl(INGEST / Sidecar.FILE)] == [
        ("other", "000.txt"),
        ("source", "000.txt"),
    ]


def test_damage_is_remembered_and_what_passes_is_tried_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong checksum stays; an error of a remote file system may be gone the next time."""
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("bad.png", b"IMAGE" + png(1))
        archive.writestr("good.png", png(2))
    Path("x.zip").write_bytes(Path("x.zip").read_bytes().replace(b"IMAGE", b"IMAGX"))
    (project.root / "far").mkdir()
    (project.root / "far/a.png").write_bytes(png(3))
    far = f"file://{project.root}/far"

    class ThrottledError(Exception):
        """As a bucket's client raises."""

    def throttled(*_: object) -> bytes:
        raise ThrottledError("slow down")

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", throttled)
        project.ingest(sources=("x.zip", far))
    codes = {row.path: row.code for row in read_manifest(INGEST, IngestedFile)}
    assert codes == {"bad.png": "damaged", "good.png": None, "a.png": "unreadable"}
    project.ingest(sources=("x.zip", far))
    assert {row.path: row.code for row in read_manifest(INGEST, IngestedFile)} == {**codes, "a.png": None}

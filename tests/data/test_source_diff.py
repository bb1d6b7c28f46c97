"""The sources are watched by content: what came, went or changed, and nothing read twice."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from anime_lora.config.data import Ingest
from anime_lora.config.load import load_params
from anime_lora.data import source_diff
from anime_lora.files import read_jsonl

ROOT = Path(__file__).parents[2]
Look = Callable[[], list[source_diff.FileHash]]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A source of three images, one with a caption; any bytes do."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png", "a.txt"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def look(faces: Path, tmp_path: Path) -> Look:
    """Looks at the source, with a memo."""
    section: Ingest = load_params(ROOT / "params.yaml").ingest.model_copy(update={"sources": (str(faces),)})
    return lambda: source_diff.hash_sources(section, tmp_path / "memo.jsonl")


def test_what_came_went_and_changed_is_told_apart(faces: Path, look: Look) -> None:
    """An image and its caption count once; the words and the table name all of it."""
    before = look()
    assert source_diff.compare(before, look()).summary() == ""
    (faces / "b.png").unlink()
    (faces / "a.txt").write_text("other words")
    (faces / "d.png").write_bytes(b"d")
    (faces / "d.txt").write_text("a girl")
    found = source_diff.compare(before, look())
    assert found.summary() == "1 added, 1 changed, 1 removed"
    assert found.images == 3
    assert {(row["what"], row["path"]) for row in found.table()} == {
        ("added", "d.png"), ("added", "d.txt"), ("changed", "a.txt"), ("removed", "b.png"),
    }  # fmt: skip


def test_a_file_touched_or_moved_away_and_back_is_no_change(faces: Path, look: Look) -> None:
    """Content counts, not time: the lock's rows stay the same."""
    before = look()
    os.utime(faces / "a.png", (1, 1))
    assert look() == before


def test_only_new_files_are_read(faces: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look reads nothing, the third only the new image; the memo is written only then."""
    look()
    read: list[str] = []
    whole = source_diff.sha256_file
    monkeypatch.setattr(source_diff, "sha256_file", lambda path: read.append(path.name) or whole(path))
    look()
    assert read == []
    (faces / "d.png").write_bytes(b"d")
    look()
    assert read == ["d.png"]
    assert len(read_jsonl(tmp_path / "memo.jsonl")) == 5


def test_an_archives_members_are_watched_one_by_one(tmp_path: Path) -> None:
    """An image added to a zip is one added image."""
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", b"a")
    section = load_params(ROOT / "params.yaml").ingest.model_copy(update={"sources": (str(archive),)})
    before = source_diff.hash_sources(section, tmp_path / "memo.jsonl")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("b.png", b"b")
    found = source_diff.compare(before, source_diff.hash_sources(section, tmp_path / "memo.jsonl"))
    assert (found.summary(), [file.path for file in found.added]) == ("1 added", ["b.png"])

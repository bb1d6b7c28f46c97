"""Files are whole or absent."""

from pathlib import Path

import pytest

from anime_lora.errors import DatasetError, OutputError
from anime_lora.files import (
    check_unchanged,
    foreign_files,
    fresh_folder,
    intact_stamp,
    link_or_copy,
    read_jsonl,
    sha256_file,
    stamp,
    write_json,
    write_jsonl,
)


def test_jsonl_round_trip_is_sorted_and_stable(tmp_path: Path) -> None:
    """Rows come back as written, and key order does not change the bytes."""
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    write_jsonl(first, [{"b": 1, "a": "é"}])
    write_jsonl(second, [{"a": "é", "b": 1}])
    assert first.read_bytes() == second.read_bytes()
    assert read_jsonl(first) == [{"a": "é", "b": 1}]


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A value that is not JSON raises and leaves what was there, without debris."""
    path = tmp_path / "metrics.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]
    assert "1.0" in path.read_text()


def test_fresh_folder_appears_only_when_done(tmp_path: Path) -> None:
    """The folder is replaced when the block ends and untouched when it raises."""
    target = tmp_path / "out"
    with fresh_folder(target, ("one", "two")) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError), fresh_folder(target, ("one", "two")) as folder:
        (folder / "two").write_text("2")
        raise RuntimeError
    assert [entry.name for entry in target.iterdir()] == ["one"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_link_shares_bytes_and_replaces(tmp_path: Path) -> None:
    """A link points at the source's inode, and an older target gives way."""
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    link_or_copy(source, target)
    assert target.read_text() == "new"
    assert source.stat().st_ino == target.stat().st_ino


WRITES = ("manifest.jsonl", "store/*.png", "[0-9].txt")


def test_a_folder_that_holds_what_its_writer_did_not_write_stays_as_it_is(tmp_path: Path) -> None:
    """The first foreign file is named, the folder is whole, and nothing half-written is left."""
    target = tmp_path / "out"
    for name in ("manifest.jsonl", "store/1.png", "mine/a.png", "store/deep/2.png"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(name)
    with (
        pytest.raises(OutputError, match=r"out holds mine/a\.png and 1 more, which is no output"),
        fresh_folder(target, WRITES),
    ):
        pytest.fail("the work is not begun")
    assert foreign_files(target, WRITES) == ["mine/a.png", "store/deep/2.png"]
    assert (target / "mine/a.png").read_text() == "mine/a.png"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_comes_while_the_work_is_done_stays_too(tmp_path: Path) -> None:
    """Training takes hours: somebody may put a file there meanwhile."""
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(OutputError, match=r"late\.png"), fresh_folder(target, WRITES):
        (target / "late.png").write_text("late")
    assert (target / "late.png").read_text() == "late"


def test_outputs_of_the_version_before_links_and_desktops_files_are_told_apart(tmp_path: Path) -> None:
    """No list is needed beside the outputs; a link is foreign and not followed; a file that a record names is known."""
    target, own = tmp_path / "out", tmp_path / "own"
    own.mkdir()
    (own / "x.png").write_text("x")
    target.mkdir()
    for name in ("manifest.jsonl", "1.txt", ".DS_Store", "myStyle_face.safetensors", "other.safetensors"):
        (target / name).write_text(name)
    (target / "record.json").write_text('{"adapters": {"kohya": {"file": "myStyle_face.safetensors"}}}')
    (target / "linked").symlink_to(own)
    assert foreign_files(target, (*WRITES, "record.json")) == ["linked", "other.safetensors"]


def test_a_file_in_the_place_of_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"), fresh_folder(tmp_path / "out", WRITES):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_a_kill_between_the_renames_loses_neither_the_old_output(tmp_path: Path) -> None:
    (tmp_path / ".out.old.tmp").mkdir()
    (tmp_path / ".out.old.tmp/1.txt").write_text("old")
    with pytest.raises(RuntimeError), fresh_folder(tmp_path / "out", WRITES):
        raise RuntimeError
    assert (tmp_path / "out/1.txt").read_text() == "old"


def test_files_that_changed_or_are_lost_are_named(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for file in files:
        file.write_text(file.name)
    hashes = {file: sha256_file(file) for file in files}
    check_unchanged(hashes, "organize")
    files[1].write_text("1.pnG")
    files[3].unlink()
    with pytest.raises(DatasetError, match=r"1\.png and 1 more changed after organize: run `dvc repro organize`"):
        check_unchanged(hashes, "organize")


def test_a_file_is_read_only_where_its_stamp_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    file.write_text("a")
    digest, written = sha256_file(file), stamp(file)
    assert written
    assert intact_stamp(file, "other", digest) == written
    assert intact_stamp(file, "other", "0" * 64) is None
    assert intact_stamp(tmp_path / "lost.png", written, digest) is None
    monkeypatch.setattr("anime_lora.files.sha256_file", lambda _: pytest.fail("it was read"))
    assert intact_stamp(file, written, digest) == written

"""Files are whole or absent."""

from pathlib import Path

import pytest

from anime_lora.files import fresh_folder, link_or_copy, read_jsonl, write_json, write_jsonl


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
    with fresh_folder(target) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError), fresh_folder(target) as folder:
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

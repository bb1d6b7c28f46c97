"""A folder is replaced in one step: whatever moment a kill hits, the old or the new one is there, or comes back."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anime_lora import folder_swap
from anime_lora.files import check_no_foreign_files, fresh_folder

WRITES = ("manifest.jsonl", "images/*.png")
KILLED_AT = """
import os, sys
from pathlib import Path
from anime_lora import folder_swap
from anime_lora.files import fresh_folder

how, step, version = sys.argv[1], int(sys.argv[2]), sys.argv[3]
calls = 0
def killing(function):
    def call(*values, **options):
        global calls
        calls += 1
        if calls > step:
            os._exit(9)
        return function(*values, **options)
    return call
if how == "contents":
    folder_swap.os.path.ismount = lambda path: Path(path).name == "out"
if how != "exchange":
    folder_swap._exchange = lambda first, second: False
for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "rmdir"), (folder_swap.shutil, "rmtree"),
                    (folder_swap, "_exchange")):
    setattr(owner, name, killing(getattr(owner, name)))
with fresh_folder(Path("out"), ("manifest.jsonl", "images/*.png")) as folder:
    (folder / "manifest.jsonl").write_text(version)
    os.makedirs(folder / "images")
    (folder / "images" / f"{version}.png").write_text(version)
"""


def write(folder: Path, version: str) -> None:
    (folder / "images").mkdir()
    (folder / "manifest.jsonl").write_text(version)
    (folder / "images" / f"{version}.png").write_text(version)


def versions(folder: Path) -> set[str]:
    """Which versions the files below a folder are of."""
    return {file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("how", ["exchange", "renames", "contents"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_folder(tmp_path: Path, how: str) -> None:
    """With two renames there is a moment without either, with contents one with a part: the next run mends both."""
    if how == "exchange":
        pytest.importorskip("ctypes")
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        if not folder_swap._exchange(tmp_path / "a", tmp_path / "b"):
            pytest.skip("this file system exchanges no names")
    for step in range(30):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with fresh_folder(tmp_path / "out", WRITES) as folder:
            write(folder, "old")
        command = [sys.executable, "-c", KILLED_AT, how, str(step), "new"]
        killed = subprocess.run(command, cwd=tmp_path, check=False).returncode == 9
        there = versions(tmp_path / "out")
        if how == "exchange":
            assert there in ({"old"}, {"new"}) or (tmp_path / "out" / "manifest.jsonl").read_text() in there
            assert (tmp_path / "out" / "manifest.jsonl").is_file()
        check_no_foreign_files(tmp_path / "out", WRITES)
        folder_swap.finish(tmp_path / "out")
        assert versions(tmp_path / "out") in ({"old"}, {"new"})
        assert len(list((tmp_path / "out").rglob("*.png"))) == 1
        assert sorted(file.name for file in tmp_path.glob(".*")) == []
        if not killed:
            assert versions(tmp_path / "out") == {"new"}
            assert step > 2, "it was killed at no step"
            return
    pytest.fail("it did not come to its end")


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced, and what lies there is as safe as elsewhere."""
    (tmp_path / "disk/faces").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk/faces")
    for version in ("old", "new"):
        with fresh_folder(tmp_path / "out", WRITES) as folder:
            write(folder, version)
        assert (tmp_path / "out").is_symlink()
        assert versions(tmp_path / "disk/faces") == {version}
    assert [entry.name for entry in (tmp_path / "disk").iterdir()] == ["faces"]
    (tmp_path / "disk/faces/mine.txt").write_text("mine")
    with pytest.raises(Exception, match=r"holds mine\.txt"), fresh_folder(tmp_path / "out", WRITES):
        pytest.fail("the work is not begun")


def test_a_link_that_leads_nowhere_gets_its_folder(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "disk/faces")
    with fresh_folder(tmp_path / "out", WRITES) as folder:
        write(folder, "new")
    assert versions(tmp_path / "disk/faces") == {"new"}


@pytest.mark.parametrize("how", ["disk", "folder of the same disk"])
def test_a_mounted_folder_gets_other_contents(tmp_path: Path, how: str) -> None:
    """It cannot be renamed; what the file system keeps there stays."""
    out, source = tmp_path / "out", tmp_path / "source"
    out.mkdir()
    source.mkdir()
    options = ["-t", "tmpfs", "none"] if how == "disk" else ["--bind", str(source)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options, str(out)], check=False).returncode:
        pytest.skip("no right to mount here")
    try:
        (out / "lost+found").mkdir()
        device = out.stat().st_ino
        for version in ("old", "new"):
            with fresh_folder(out, WRITES) as folder:
                write(folder, version)
            assert versions(out) == {version}
            assert sorted(entry.name for entry in out.iterdir()) == ["images", "lost+found", "manifest.jsonl"]
        assert out.stat().st_ino == device
    finally:
        subprocess.run(["umount", str(out)], check=True)

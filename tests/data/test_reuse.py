"""Only what is new is made: after a kill, of archives too; what the store lost or holds damaged is made again."""

import errno
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from anime_lora.data import ingest, resize
from anime_lora.data.quality import measures
from anime_lora.errors import DatasetError, FullDiskError
from tests.data.conftest import Project

Tree = Callable[[Path], dict[str, bytes]]
DATA = Path("data")


def damage(file: Path, how: str) -> None:
    """Change a file in place, as a program that opens it would."""
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "longer":
        file.write_bytes(content + b"x")
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("how", ["missing", "cut", "longer", "one bit"])
@pytest.mark.parametrize("stage", ["ingest", "resize"])
def test_a_damaged_file_of_the_store_is_made_again(
    project: Project, tree: Tree, capsys: pytest.CaptureFixture[str], stage: str, how: str
) -> None:
    project.add(3)
    project.all()
    before = tree(DATA)
    kind = f".cache/{stage}/**/" + "[0-9a-f]" * 64 + ".png"
    damage(sorted(Path().glob(kind))[1], how)
    capsys.readouterr()
    project.all()
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(stage)][-1]
    assert ", 1 made anew" in said
    assert tree(DATA) == before


def test_a_file_of_the_store_with_another_time_and_the_same_bytes_is_kept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after the cache was copied to another disk; it is hashed once and not again."""
    project.add(3)
    project.all()
    for file in Path(".cache").rglob("*.png"):
        os.utime(file, (1, 1))
    capsys.readouterr()
    project.all()
    assert ", 0 made anew" in capsys.readouterr().out
    key = f"{(project.source / '000.png').absolute()}|"
    assert (Path(".cache/ingest/memo.jsonl").read_text()).count(key) == 2
    project.all()
    assert (Path(".cache/ingest/memo.jsonl").read_text()).count(key) == 2


@pytest.mark.parametrize("room", [(ingest, "ingest"), (measures, "validate"), (resize, "resize")])
def test_a_stage_that_ends_early_keeps_what_it_did(
    project: Project, tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    room: tuple[object, str],
) -> None:  # fmt: skip
    """By an interrupt, that is an exception that no stage catches; a kill is the same to the files."""
    project.add(6)
    project.all()
    before = tree(DATA)
    module, stage = room
    for file in Path(".cache", stage).rglob("*.jsonl"):
        file.unlink()
    real = module.decode  # type: ignore[attr-defined]
    left = iter(range(4))

    def interrupted(*values: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "decode", interrupted)
        getattr(project, stage)()
    assert tree(DATA) == before, "the outputs are as they were"
    capsys.readouterr()
    getattr(project, stage)()
    assert ", 2 made anew" in capsys.readouterr().out
    assert tree(DATA) == before


def test_members_of_an_unchanged_archive_are_not_opened_again(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of one name are: nothing tells which of them is which."""
    project.add(4)
    with zipfile.ZipFile("faces.zip", "w") as archive:
        for file in sorted(project.source.glob("*.png")):
            archive.write(file, file.name)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(project.source / "001.png", "000.png")
    project.ingest(sources=("faces.zip",))
    capsys.readouterr()
    project.ingest(sources=("faces.zip",))
    assert "5 files, 4 taken, 1 rejected, 2 made anew" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["validate", "resize"])
def test_an_image_that_changed_after_ingest_is_named(project: Project, stage: str) -> None:
    project.add(3)
    project.all()
    for file in Path(".cache", stage).rglob("*.jsonl"):
        file.unlink()
    stored = next(Path("data/ingest/store").rglob("*.png"))
    damage(stored, "longer")
    with pytest.raises(
        DatasetError, match=rf"{stored.name} was changed after ingest: run `python -m anime_lora ingest`"
    ):
        getattr(project, stage)()
    project.ingest()
    getattr(project, stage)()


@pytest.mark.parametrize("stage", ["ingest", "resize"])
def test_a_full_disk_is_one_error_and_the_next_run_goes_on(
    project: Project, tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """Here after three files; of the fourth nothing is left."""
    project.add(6)
    project.all()
    before = tree(DATA)
    shutil.rmtree(Path(".cache", stage))
    real, left = Path.replace, iter(range(3))

    def full(file: Path, target: Path) -> Path:
        if target.suffix == ".png" and next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(FullDiskError, match=rf"no space left in \S*\.cache/{stage}\S* .*MiB free, .*MiB needed"):
            getattr(project, stage)()
    assert tree(DATA) == before
    assert not list(Path(".cache").rglob("*.tmp"))
    capsys.readouterr()
    getattr(project, stage)()
    assert ", 3 made anew" in capsys.readouterr().out
    assert tree(DATA) == before


@pytest.mark.slow
@pytest.mark.parametrize("place", [".cache", "data"])
def test_a_small_disk_is_one_error_and_a_larger_one_takes_all(project: Project, tree: Tree, place: str) -> None:
    """A real one, mounted where the cache or the outputs lie; no file that is cut short is taken for whole."""
    project.add(40)
    project.compute = project.compute.model_copy(update={"workers": 2})
    project.all()
    before = tree(DATA)
    shutil.rmtree(DATA)
    shutil.rmtree(".cache")
    Path(place).mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", place]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no right to mount here")
    try:
        with pytest.raises(FullDiskError, match=rf"no space left in \S*{place}\S* .*MiB free, .*MiB needed"):
            project.all()
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        project.all()
        assert tree(DATA) == before
    finally:
        subprocess.run(["umount", place], check=True)


def test_what_a_kill_left_of_a_file_is_deleted_after_an_hour(project: Project) -> None:
    project.add(2)
    project.all()
    stored, square = (next(Path(".cache", stage).rglob("[0-9a-f]*.png")) for stage in ("ingest", "resize"))
    debris = [file.with_name(f".{file.name}.0f.tmp") for file in (stored, square)]
    for file in debris:
        file.write_bytes(b"half")
    project.all()
    assert all(file.exists() for file in debris), "it may be another process'"
    for file in debris:
        os.utime(file, (1, 1))
    project.all()
    assert not any(file.exists() for file in debris)
    assert stored.exists()

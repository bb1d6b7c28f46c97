import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.errors import OutputError, SourceError
from anime_lora.files import read_jsonl
from tests.data.conftest import ROOT, Project, image

MANIFEST = Path("data/ingest/manifest.jsonl")


def reasons() -> dict[str, str | None]:
    return {row["path"]: row["reason"] for row in read_jsonl(MANIFEST)}


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    image(seed).save(stream, "PNG")
    return stream.getvalue()


def test_every_file_of_an_ugly_source_is_accounted_for(project: Project) -> None:
    project.add(3)
    source = project.source
    whole = (source / "000.png").read_bytes()
    (source / "cut.png").write_bytes(whole[: len(whole) // 2])
    (source / "words.png").write_text("this is no image")
    (source / "empty.jpg").write_bytes(b"")
    (source / "again.png").write_bytes(whole)
    image(7, mode="RGBA").save(source / "alpha.png")
    image(8).save(source / "moving.gif")
    Image.new("RGB", (1, 1)).save(source / "one.png")
    (source / "link.png").symlink_to("000.png")
    project.ingest()
    rejected = reasons()
    assert set(rejected) == {p.name for p in source.iterdir() if p.suffix != ".txt"}
    taken = {name for name, reason in rejected.items() if reason is None}
    assert taken == {"000.png", "001.png", "002.png", "alpha.png", "one.png", "moving.gif"}
    assert "damaged" in str(rejected["cut.png"])
    assert "not an image" in str(rejected["words.png"])
    assert "not an image" in str(rejected["empty.jpg"])
    assert rejected["again.png"] == "duplicate of 000.png"
    assert "link" in str(rejected["link.png"])


def test_stored_bytes_are_the_source_bytes_named_by_their_hash(project: Project) -> None:
    project.add(2)
    project.ingest()
    for row in read_jsonl(MANIFEST):
        stored = Path("data/ingest") / row["store"]
        assert stored.read_bytes() == (project.source / row["path"]).read_bytes()
        assert stored.stem == row["id"]


def test_a_file_over_a_limit_is_rejected_with_the_key_to_change(project: Project) -> None:
    project.add(2)
    image(9, side=800).save(project.source / "large.png")
    (project.source / "heavy.png").write_bytes(png(10) + b"\0" * 2**20)
    project.ingest(max_pixels=500_000, max_file_mb=1)
    assert reasons()["large.png"] == "800x800 pixels, more than ingest.max_pixels = 500000"
    assert "ingest.max_file_mb = 1" in str(reasons()["heavy.png"])
    with pytest.raises(SourceError, match=r"ingest\.max_files = 3"):
        project.ingest(max_files=3)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_gives_its_images_and_nothing_escapes(project: Project, kind: str) -> None:
    members = {"a/1.png": png(1), "a/1.txt": b"girl, blue hair", "../out.png": png(2), "/abs.png": png(3)}
    name = f"faces.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(name, "w") as archive:
            for path, content in members.items():
                archive.writestr(path, content)
    else:
        with tarfile.open(name, "w:gz" if kind.endswith("gz") else "w") as archive:
            for path, content in members.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    project.ingest(sources=(name,))
    rows = {row["path"]: row for row in read_jsonl(MANIFEST)}
    assert rows["a/1.png"]["status"] == "taken"
    assert rows["a/1.png"]["caption"] == "girl, blue hair"
    assert [row["status"] for path, row in rows.items() if path != "a/1.png"] == ["rejected", "rejected"]
    assert not (project.root.parent / "out.png").exists()


def test_an_archive_bomb_is_not_unpacked(project: Project) -> None:
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * 20_000_000)
        archive.writestr("good.png", png())
    project.ingest(sources=("bomb.zip",))
    assert "max_archive_ratio" in str(reasons()["bomb.png"])
    assert reasons()["good.png"] is None


def test_a_pixel_bomb_is_refused_before_it_is_decoded(project: Project) -> None:
    project.add(1)
    Image.new("1", (40_000, 40_000)).save(project.source / "bomb.png")
    project.ingest()
    assert reasons()["bomb.png"] == "40000x40000 pixels, more than ingest.max_pixels = 50000000"


def test_the_manifest_names_each_caption_and_its_file(project: Project) -> None:
    project.add(1)
    image(1).save(project.source / "none.png")
    project.ingest()
    captions = {row["path"]: (row["caption"], row["caption_from"]) for row in read_jsonl(MANIFEST)}
    assert captions == {"000.png": ("girl, number 0", "000.txt"), "none.png": (None, None)}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("absent", "does not exist"),
        ("source", "no file that could be an image"),
        ("notes.md", "neither a folder, an archive nor an image"),
        ("broken.zip", "cannot be opened"),
        ("s3x://bucket", "cannot be listed"),
    ],
)
def test_a_source_that_gives_nothing_is_one_error_and_keeps_the_old_output(
    project: Project, source: str, says: str
) -> None:
    Path("notes.md").write_text("x")
    Path("broken.zip").write_bytes(b"PK\3\4 not really")
    MANIFEST.parent.mkdir(parents=True)
    MANIFEST.write_text("old\n")
    with pytest.raises(SourceError, match=says):
        project.ingest(sources=(source,))
    assert MANIFEST.read_text() == "old\n"
    assert [p.name for p in MANIFEST.parent.iterdir()] == ["manifest.jsonl"]


def test_only_a_new_file_is_opened(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.add(4)
    project.ingest()
    project.add(1, first=4)
    capsys.readouterr()
    project.ingest()
    assert "5 files, 5 taken, 0 rejected, 1 made anew" in capsys.readouterr().out


def test_many_workers_and_a_second_time_give_the_same_bytes(
    project: Project, tree: Callable[[Path], dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.add(30)
    project.ingest()
    first = tree(Path("data/ingest"))
    project.compute = project.compute.model_copy(update={"workers": 2})
    from anime_lora.data.ingest import ingest

    ingest(project._ingest, project.compute, Path("again"), tmp_path_factory.mktemp("cache"))
    assert tree(Path("again")) == first


@pytest.mark.parametrize("where", ["data/ingest/mine", "data/resize/mine", ".cache/mine"])
def test_images_in_a_stage_s_folder_are_refused_and_untouched(
    project: Project, where: str, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    """The command that a person types, on the project's params.yaml with such a source."""
    project.add(8)
    mine = Path(where)
    mine.parent.mkdir(parents=True)
    project.source.rename(mine)
    before = tree(mine)
    text = (ROOT / "params.yaml").read_text().replace("sources: [data/samples/anime]", f"sources: [{where}]")
    Path("params.yaml").write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "anime_lora", "ingest"], env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert f"ingest.sources.0 = '{where}': it lies in" in ran.stderr
    assert tree(mine) == before
    assert len(before) == 16


def test_images_put_beside_the_output_outlive_the_stage(
    project: Project, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    """Not named anywhere, and still nobody's to delete."""
    project.add(4)
    project.ingest()
    image(9).save("data/ingest/store/mine.png")
    before = tree(Path("data/ingest"))
    with pytest.raises(OutputError, match=r"data/ingest holds store/mine\.png, which is no output"):
        project.ingest()
    assert tree(Path("data/ingest")) == before
    Path("data/ingest/store/mine.png").unlink()
    project.ingest()


def test_a_caption_that_cannot_be_read_is_named_in_the_output(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.add(2)
    (project.source / "metadata.jsonl").write_text('{"file_name":"000.png","text":"\\ud800"}\n')
    project.ingest()
    assert "captions passed over: metadata.jsonl in source: no text" in capsys.readouterr().out
    assert [row["caption"] for row in read_jsonl(MANIFEST)] == ["girl, number 0", "girl, number 1"]


def test_a_damaged_member_is_named_and_the_run_goes_on(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """An image and a caption whose checksums are wrong."""
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("good.png", png(1))
        archive.writestr("bad.png", b"IMAGE" + png(2))
        archive.writestr("good.txt", "CAPTION")
    content = Path("x.zip").read_bytes().replace(b"IMAGE", b"IMAGX").replace(b"CAPTION", b"CAPTIOX")
    Path("x.zip").write_bytes(content)
    project.ingest(sources=("x.zip",))
    assert "captions passed over: good.txt in x.zip: Bad CRC-32" in capsys.readouterr().out
    rows = {row["path"]: row for row in read_jsonl(MANIFEST)}
    assert rows["good.png"]["status"] == "taken"
    assert rows["bad.png"]["code"] == "damaged"
    assert "Bad CRC-32" in rows["bad.png"]["reason"]


def test_shadow_files_are_ignored_and_counted(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.add(2)
    for name in (".DS_Store", "Thumbs.db", "._000.png", "._000.txt"):
        (project.source / name).write_bytes(b"\0\5\x16\7")
    project.ingest()
    printed = capsys.readouterr().out
    assert "4 files ignored" in printed
    assert "2 files, 2 taken, 0 rejected" in printed


def test_a_name_that_is_no_utf_8_goes_through_all_stages(project: Project) -> None:
    project.add(2)
    odd = os.fsdecode(os.fsencode(project.source) + b"/\x83\x65\x83\n")
    image(5).save(Path(odd + ".png"))
    Path(odd + ".txt").write_text("girl")
    project.all()
    row = next(row for row in read_jsonl(MANIFEST) if row["path"].startswith("\\x83"))
    assert (row["path"], row["status"], row["caption"]) == ("\\x83e\\x83\\n.png", "taken", "girl")
    project.ingest()


@pytest.mark.parametrize(
    ("error", "code"), [(MemoryError(), "memory"), (PermissionError(13, "Permission denied"), "unreadable")]
)
def test_a_file_that_cannot_be_read_now_is_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    project.add(3)
    real = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "001.png":
            raise error
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        project.ingest()
    rows = {row["path"]: row for row in read_jsonl(MANIFEST)}
    assert (rows["001.png"]["status"], rows["001.png"]["code"]) == ("rejected", code)
    project.ingest()
    assert set(reasons().values()) == {None}

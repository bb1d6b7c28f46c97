import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from anime_lora.data.manifest import DatasetImage, SquareImage, read_manifest
from anime_lora.data.organize import split_of
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl, write_jsonl
from tests.data.conftest import Project

OUT = Path("data/organize")
RESIZE = Path("data/resize")


def test_the_folder_is_named_as_dreambooth_wants_and_captions_start_with_the_trigger(project: Project) -> None:
    project.add(4)
    project.all()
    folder = OUT / "myAnimeStyleToken_anime_face"
    rows = read_jsonl(folder / "metadata.jsonl")
    assert {row["file_name"] for row in rows} == {p.name for p in folder.glob("*.png")}
    assert sorted(row["text"] for row in rows) == [
        f"myAnimeStyleToken anime_face portrait, girl, number {n}" for n in range(4)
    ]


def test_kohya_layout(project: Project) -> None:
    project.add(4)
    project.all()
    project.organize(layout="kohya", repeats=3)
    folder = OUT / "3_myAnimeStyleToken anime_face"
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.txt"))) == 4
    assert next(folder.glob("*.txt")).read_text().startswith("myAnimeStyleToken")


def test_the_split_keeps_its_images_when_others_come() -> None:
    names = [f"{n:064x}" for n in range(4000)]
    held = {name for name in names if split_of(name, "v1", 0.1) == "holdout"}
    assert 0.08 < len(held) / len(names) < 0.12
    assert {name for name in names[:2000] if split_of(name, "v1", 0.1) == "holdout"} == held & set(names[:2000])
    assert held != {name for name in names if split_of(name, "v2", 0.1) == "holdout"}
    assert held < {name for name in names if split_of(name, "v1", 0.2) == "holdout"}


def test_a_cluster_is_never_cut_by_the_split(project: Project) -> None:
    """Six of twelve images are one cluster: whichever side the salt sends it to, all of them lie there."""
    project.add(12)
    project.all()
    squares = read_manifest(RESIZE, SquareImage)
    cluster = squares[0].cluster
    write_jsonl(RESIZE / SquareImage.FILE, [replace(one, cluster=cluster) for one in squares[:6]] + squares[6:])
    sides = []
    for salt in ("a", "d", "e", "f"):
        project.organize(holdout_share=0.4, holdout_salt=salt)
        images = read_manifest(OUT, DatasetImage)
        sides.append({image.split for image in images if image.cluster == cluster})
    assert sides == [{"holdout"}, {"train"}, {"holdout"}, {"train"}]


def test_an_empty_side_is_one_clear_error(project: Project) -> None:
    project.add(2)
    project.all()
    with pytest.raises(DatasetError, match=r"organize\.holdout_share = 0\.001"):
        project.organize(holdout_share=0.001)


def test_imagefolder_reads_it(project: Project) -> None:
    datasets = pytest.importorskip("datasets")
    project.add(4)
    project.all()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str((OUT / "myAnimeStyleToken_anime_face").resolve()), split="train"
    )
    assert loaded.num_rows == 4
    assert loaded[0]["image"].size == (64, 64)
    assert loaded[0]["text"].startswith("myAnimeStyleToken")


def test_the_same_source_gives_the_same_bytes(project: Project, tree: Callable[[Path], dict[str, bytes]]) -> None:
    project.add(5)
    project.all()
    first = tree(OUT)
    shutil.rmtree(".cache")
    shutil.rmtree("data")
    project.all()
    assert tree(OUT) == first


def test_of_several_captions_each_is_a_line_behind_the_prompt(project: Project) -> None:
    """In kohya's files, too: sd-scripts takes a line at random with `enable_wildcard`."""
    project.add(2)
    (project.source / "000.txt").write_text("girl\nblue hair\n")
    project.ingest(caption_lines="one_per_use")
    project.validate()
    project.resize()
    project.organize()
    texts = sorted(row.text for row in read_manifest(OUT, DatasetImage))
    prompt = "myAnimeStyleToken anime_face portrait"
    assert texts == [f"{prompt}, girl\n{prompt}, blue hair", f"{prompt}, girl, number 1"]
    project.organize(layout="kohya")
    assert {file.read_text() for file in OUT.rglob("*.txt")} == {f"{text}\n" for text in texts}

"""Captions are matched to images by path, and the nearest to the image wins."""

import json
import unicodedata
from pathlib import Path

import pytest

from anime_lora.data.captions.matching import Caption, Captions, Lines, is_sidecar, read_captions
from anime_lora.data.sources.archives import Limits
from anime_lora.data.sources.listing import list_files


def read_all(folder: Path, lines: Lines = "joined") -> Captions:
    return read_captions(list_files(str(folder), Limits(max_files=100, max_ratio=50)), lines)


def add(folder: Path, *names: str) -> None:
    """Files that have images' names; captions do not ask what is in them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def captions_in(folder: Path, lines: Lines = "joined") -> dict[str, Caption]:
    return read_all(folder, lines).by_image


def texts(folder: Path, lines: Lines = "joined") -> dict[str, str]:
    return {image: caption.text for image, caption in captions_in(folder, lines).items()}


def test_captions_come_from_text_tables_and_taggers(tmp_path: Path) -> None:
    """A file of the image's own wins over a table; line breaks become spaces; tables name images beside them."""
    (tmp_path / "own.txt").write_text("girl,\n  blue hair ")
    rows = [{"file_name": "own.png", "text": "loses"}, {"file_name": "table.png", "text": "boy"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/tags.csv").write_text('Filename,tags\ntagged.png,"1girl, smile"\nuntagged.png,\n')
    add(tmp_path, "own.png", "table.png", "deep/tagged.png", "deep/untagged.png")
    assert captions_in(tmp_path) == {
        "own.png": Caption("girl, blue hair", "own.txt"),
        "table.png": Caption("boy", "metadata.jsonl"),
        "deep/tagged.png": Caption("1girl, smile", "deep/tags.csv"),
    }


def test_lines_that_are_no_rows_are_counted_and_cost_no_other_line(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(
        '{"broken\n[1]\n\n{"file": "a.png", "caption": "girl"}\n{"text": "nobody"}\n'
    )
    add(tmp_path, "a.png")
    captions = read_all(tmp_path)
    assert captions.by_image == {"a.png": Caption("girl", "metadata.jsonl")}
    assert captions.sidecars[0].reason == "3 lines are no rows that name an image"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("other.csv", "x,y\n1,2\n", "its head line needs a column of names"),
        ("tags.csv", "a.png,girl\nb.png,boy\n", "its head line needs a column of names"),
        ("tags.csv", 'name,tags\n"a.png,girl\nb.png,boy\n', "a quotation mark is not closed"),
        ("metadata.jsonl", "words\nwords\n", "no line is a JSON object"),
        ("metadata.jsonl", '{"text": "a"}\n', "no row names an image"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": [{"a": 1}]}\n', "no text and no list of tags"),
    ],
)
def test_a_table_that_is_none_is_named(name: str, content: str, reason: str, tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("girl")
    (tmp_path / name).write_text(content)
    captions = read_all(tmp_path)
    assert reason in captions.unreadable[name]
    assert captions.by_image == {"a.png": Caption("girl", "a.txt")}


def test_a_sidecar_that_is_all_suffix_belongs_to_no_image(tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    for name in (".txt", ".caption", "x/.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("girl")
    (tmp_path / ".csv").write_text("file,tags\na.png,hat\n")
    captions = read_all(tmp_path)
    assert captions.by_image == {"a.png": Caption("hat", ".csv")}
    assert [one.status for one in captions.sidecars] == ["orphan", "used", "orphan", "orphan"]


def test_what_lies_beside_images_is_no_image() -> None:
    names = ["a.png", "a.txt", "A.CAPTION", "metadata.jsonl", "tags.csv", "README.md", "info.json", "a.jpg"]
    assert [name for name in names if not is_sidecar(name)] == ["a.png", "a.jpg"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1girl, blue hair", "utf-8-sig"),
        ("1girl, 青い髪", "utf-16"),
        ("1girl, 青い髪", "utf-8"),
        ("少女, 青い髪", "shift-jis"),
        ("少女が笑っている、青い髪", "cp932"),
        ("一个女孩，蓝色的头发，微笑着看着镜头", "gb18030"),
        ("une fille, yeux bleus, café, très élégante", "latin-1"),
    ],
)
def test_a_caption_is_read_in_the_encoding_it_is_in(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    add(tmp_path, "a.png")
    assert captions_in(tmp_path) == {"a.png": Caption(text, "a.txt")}


def test_what_cannot_be_read_is_named_and_costs_no_other_caption(tmp_path: Path) -> None:
    """A csv field beyond the csv module's limit, half a surrogate pair, endless nesting, zero bytes."""
    (tmp_path / "good.txt").write_text("girl")
    (tmp_path / "wide.csv").write_text('name,tags\na.png,"' + "x" * 200_000 + '"\n')
    (tmp_path / "metadata.jsonl").write_text('{"file_name":"g.png","text":"\\ud800"}\n')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/metadata.jsonl").write_text("[" * 200_000 + "\n")
    (tmp_path / "zero.txt").write_bytes(b"a\0b\0\0c")
    add(tmp_path, "good.png")
    captions = read_all(tmp_path)
    assert captions.by_image == {"good.png": Caption("girl", "good.txt")}
    assert set(captions.unreadable) == {"wide.csv", "metadata.jsonl", "deep/metadata.jsonl", "zero.txt"}
    assert all(captions.unreadable.values())


def test_a_table_names_images_as_other_systems_do_and_lists_tags(tmp_path: Path) -> None:
    """Windows' paths, dots, other machines' absolute paths, no suffix, another case, decomposed Unicode."""
    composed, decomposed = unicodedata.normalize("NFC", "ガール"), unicodedata.normalize("NFD", "ガール")
    rows = [
        {"file_name": "a.png", "tags": ["1girl", "smile"]},
        {"file_name": "sub\\b.png", "text": "windows"},
        {"file_name": "./sub/../c.png", "text": "dot\u2028line"},
        {"file_name": ".", "text": "nothing"},
        {"file_name": "C:\\Users\\me\\faces\\d.png", "text": "absolute"},
        {"file_name": "/home/me/e.png", "text": "absolute, too"},
        {"file_name": "f", "text": "no suffix"},
        {"file_name": "g.v2", "text": "no suffix, but a dot"},
        {"file_name": "H.PNG", "text": "capitals"},
        {"file_name": f"{composed}.png", "text": "composed"},
        {"file_name": "i.jpg", "tags": {"1girl": 0.98, "smile": 0.7}},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    add(tmp_path, "a.png", "sub/b.png", "c.png", "d.png", "e.png", "f.png", "g.v2.png", "g.png", "h.png", "i.png")
    add(tmp_path, f"{decomposed}.png")
    assert texts(tmp_path) == {
        "a.png": "1girl, smile", "sub/b.png": "windows", "c.png": "dot line", "d.png": "absolute",
        "e.png": "absolute, too", "f.png": "no suffix", "g.v2.png": "no suffix, but a dot", "h.png": "capitals",
        f"{decomposed}.png": "composed", "i.png": "1girl, smile",
    }  # fmt: skip


def test_a_csv_may_be_separated_by_semicolons_or_tabs(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "b.png")
    (tmp_path / "a.csv").write_text('\ufefffile;tags\r\na.png;"1girl; smile, hat"\r\n')
    (tmp_path / "b.csv").write_text("File\tCaption\nb.png\tgirl, hat\n")
    assert texts(tmp_path) == {"a.png": "1girl; smile, hat", "b.png": "girl, hat"}


def test_commas_that_nobody_quoted_belong_to_the_last_column(tmp_path: Path) -> None:
    """Where that is not the captions', a row with too many cells is counted instead of cut."""
    add(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "tags.csv").write_text('name,tags\na.png,1girl, smile, hat\nb.png,"1girl" solo\n\n')
    (tmp_path / "other.csv").write_text("tags,name\n1girl, smile,c.png\nboy,c.png\n")
    captions = read_all(tmp_path)
    assert {image: caption.text for image, caption in captions.by_image.items()} == {
        "a.png": "1girl, smile, hat", "b.png": "1girl solo", "c.png": "boy",
    }  # fmt: skip
    assert {one.path: one.reason for one in captions.sidecars} == {
        "other.csv": "1 lines are no rows that name an image", "tags.csv": None,
    }  # fmt: skip


def test_a_caption_file_may_be_named_by_the_whole_name_or_in_another_case(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "B.PNG", "ガ.png", "c.png", "c.jpg")
    decomposed = unicodedata.normalize("NFD", "ガ.txt")
    for name, text in {
        "a.png.txt": "whole name", "b.txt": "case", decomposed: "decomposed", "c.txt": "both",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    assert texts(tmp_path) == {
        "a.png": "whole name", "B.PNG": "case", "ガ.png": "decomposed", "c.png": "both", "c.jpg": "both",
    }  # fmt: skip


def test_the_most_exact_name_wins(tmp_path: Path) -> None:
    """Two images that differ in case, or in suffix, keep captions of their own."""
    add(tmp_path, "a.png", "A.png", "b.png", "b.jpg")
    for name in ("a.txt", "A.txt", "b.png.txt", "b.jpg.txt"):
        (tmp_path / name).write_text(name)
    assert texts(tmp_path) == {"a.png": "a.txt", "A.png": "A.txt", "b.png": "b.png.txt", "b.jpg": "b.jpg.txt"}


def test_what_became_of_every_sidecar_is_said(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("girl")
    (tmp_path / "nobody.txt").write_text("girl")
    (tmp_path / "b.caption").write_text(" \n")
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "zero.txt").write_bytes(b"a\0\0\0\0b\0")
    rows = [{"file_name": name, "text": "girl"} for name in ("b.png", "gone.png", "gone/too.png")]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = {one.path: (one.kind, one.status, one.captions, one.orphans) for one in read_all(tmp_path).sidecars}
    assert said == {
        "a.txt": ("caption", "used", 1, []),
        "nobody.txt": ("caption", "orphan", 0, []),
        "b.caption": ("caption", "empty", 0, []),
        "README.md": ("note", "ignored", 0, []),
        "zero.txt": ("caption", "unreadable", 0, []),
        "metadata.jsonl": ("table", "used", 1, ["gone.png", "gone/too.png"]),
    }


def test_several_lines_are_what_the_setting_says(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("girl,\r\n\r\n  blue   hair \n")
    rows = [{"file_name": "b.png", "text": text} for text in ("one", "two\nthree")]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert texts(tmp_path, "joined") == {"a.png": "girl, blue hair", "b.png": "two three"}
    assert texts(tmp_path, "first") == {"a.png": "girl,", "b.png": "two"}
    assert texts(tmp_path, "one_per_use") == {"a.png": "girl,\nblue hair", "b.png": "one\ntwo\nthree"}


def test_an_unclear_caption_is_read_like_the_others_of_its_source(tmp_path: Path) -> None:
    """A few characters whose bytes are Chinese and Korean words alike."""
    unclear = "웃는 얼굴".encode("cp949")
    add(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_bytes(unclear)
    assert "a.txt" in read_all(tmp_path).unreadable
    (tmp_path / "b.txt").write_bytes("一个女孩，蓝色的头发".encode("gb18030"))
    assert texts(tmp_path)["a.png"] == unclear.decode("gb18030")

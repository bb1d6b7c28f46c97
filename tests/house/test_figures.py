"""The code stays within the house's limits: `python -m tests.house.figures` prints every figure with its places."""

from pathlib import Path

import pytest

from tests.house import figures
from tests.house.figures import Source

FIGURES = figures.measure()


def source(text: str, path: str = "room/module.py") -> Source:
    return Source(Path(path), text)


def test_no_file_is_longer_than_350_lines() -> None:
    assert FIGURES.lines_of_it <= 350, FIGURES.longest


def test_no_function_is_longer_than_60_lines() -> None:
    assert FIGURES.long_functions == []


def test_no_folder_holds_more_than_15_files() -> None:
    assert FIGURES.files_in_it <= 15, FIGURES.folder


def test_the_median_file_has_100_to_200_lines() -> None:
    assert 100 <= FIGURES.median_lines <= 200


def test_no_untyped_dict_stands_in_a_signature_that_another_room_calls() -> None:
    assert FIGURES.untyped == []


def test_no_name_is_made_of_a_private_word() -> None:
    assert FIGURES.private_names == []


def test_prose_uses_the_words_of_the_field() -> None:
    assert FIGURES.private_prose == []


def test_a_function_is_measured_from_its_def_to_its_last_line() -> None:
    body = "\n".join(["def long():", *["    x = 1"] * 60])
    assert figures.long_functions([source(body + "\n")], 60) == ["room/module.py:1 long (61)"]
    assert figures.long_functions([source(body + "\n")], 61) == []


@pytest.mark.parametrize("signature", [
    "def f(x: dict[str, Any]): ...", "def f() -> list[dict[str, Any]]: ...",
    "def f(*, x: Mapping[str, Any] | None): ...",
    "class f:\n    def g(self) -> dict[str, Any]: ...", "Json = dict[str, Any]\ndef f(x: Json): ...",
])  # fmt: skip
@pytest.mark.parametrize("use", ["from room.module import f", "from room import module\nmodule.f()"])
def test_an_untyped_dict_counts_where_another_room_imports_the_function(signature: str, use: str) -> None:
    definition = source(signature)
    assert len(figures.untyped_between_rooms([definition, source(use, "other/module.py")])) == 1
    assert figures.untyped_between_rooms([definition, source(use, "room/neighbour.py")]) == []


@pytest.mark.parametrize(
    "text",
    ["def found(): ...", "def f(kept_rows): ...", "class PictureGrid: ...", "self.told = 1", "for said in x: ..."],
)
def test_a_private_word_counts_in_every_name_we_give(text: str) -> None:
    assert len(figures.private_names([source(text + "\n")])) == 1


@pytest.mark.parametrize("text", ["x = founder", "ImageDraw.Draw(image)", "x = 'found'", "weight = guidance = 1"])
def test_what_is_called_quoted_or_only_begins_alike_is_no_private_name(text: str) -> None:
    assert figures.private_names([source(text + "\n")]) == []


def test_prose_is_searched_in_strings_and_comments_not_in_code() -> None:
    text = figures.quoted(source('picture = {"picture": 1}  # a picture\nx = f"pictures of {picture}"\n'))
    places = figures.private_prose({"a.py": text})
    assert places == ["a.py:1 picture", "a.py:2 pictures"]


def test_comments_for_people_are_counted_once_a_line_and_directives_never() -> None:
    text = "x = 1  # why\ny = 2  # noqa: E501\nz = 3\n# why not\n"
    assert figures.comment_share([source(text)]) == 0.5

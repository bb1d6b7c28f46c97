"""Tables of captions: `metadata.jsonl` as datasets' imagefolder has it, and csv files of taggers."""

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from anime_lora.data.captions.encodings import UnreadableError

TAG_COLUMNS = ("tags", "tag", "caption", "text", "tag_string")
NAME_COLUMNS = ("filename", "file_name", "file", "image", "path", "name")
DELIMITERS = (",", ";", "\t")
ABSOLUTE = re.compile(r"^(?:[A-Za-z]:)?/")


@dataclass(frozen=True)
class Table:
    """The rows of a table that name an image, and what was passed over."""

    rows: list[tuple[str, str]]
    """The path of each image in the source, and its caption as it stands there."""
    passed_over: int
    """Lines that are no rows, or rows that name no image."""


def read_table(path: str, text: str) -> Table:
    """The rows of a table.

    Args:
        path: of the table in its source: images are named relative to its folder.
        text: its content.

    Raises:
        UnreadableError: it cannot be parsed, has no column of names or of captions, or a caption is no text.
    """
    rows = _json_rows(text) if path.lower().endswith(".jsonl") else _csv_rows(text)
    named: list[tuple[str, str]] = []
    for row in rows:
        cells = {str(key).lower().strip(): value for key, value in (row or {}).items()}
        name = _beside(path, _first(cells, NAME_COLUMNS))
        if name:
            named.append((name, _first(cells, TAG_COLUMNS)))
    if rows and not named:
        raise UnreadableError(f"no table of captions: no row names an image under {', '.join(NAME_COLUMNS)}")
    return Table(named, len(rows) - len(named))


def _beside(table: str, image: str) -> str | None:
    """The path in the source that a table means: relative to its folder, with slashes, without `.`; None for none.

    Of an absolute path, which is another machine's, the name alone.
    """
    name = image.strip().replace("\\", "/")
    if ABSOLUTE.match(name):
        name = posixpath.basename(name)
    path = posixpath.normpath(PurePosixPath(table).parent / name)
    return path if PurePosixPath(name).name and PurePosixPath(path).name else None


def _csv_rows(text: str) -> list[Mapping[str, object] | None]:
    """The rows of a table with a head line, in the first of `DELIMITERS` in which it names known columns.

    None for a row of more cells than the head line has, unless the last column is of captions: then they have commas.

    Raises:
        UnreadableError: it cannot be parsed, ends within quotation marks, or the head line names no known columns.
    """
    for delimiter in DELIMITERS:
        columns = next(iter(_cells(text.partition("\n")[0], delimiter)), [])
        names = [name.lower().strip() for name in columns]
        if not set(names).intersection(NAME_COLUMNS) or not set(names).intersection(TAG_COLUMNS):
            continue
        rows: list[Mapping[str, object] | None] = []
        for cells in _cells(text, delimiter)[1:]:
            if len(cells) > len(names) and names[-1] in TAG_COLUMNS:
                cells[len(names) - 1 :] = [delimiter.join(cells[len(names) - 1 :])]
            if cells:
                rows.append(dict(zip(names, cells, strict=False)) if len(cells) <= len(names) else None)
        return rows
    raise UnreadableError(
        f"no table of captions: its head line needs a column of names ({', '.join(NAME_COLUMNS)}) and one of captions "
        f"({', '.join(TAG_COLUMNS)})"
    )


def _cells(text: str, delimiter: str) -> list[list[str]]:
    """The cells of every row.

    Raises:
        UnreadableError: a cell is too long, or the text ends within quotation marks, so that rows are cells.
    """
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise UnreadableError("no table: a quotation mark is not closed") from None
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UnreadableError(f"no table: {error}") from error


def _json_rows(text: str) -> list[Mapping[str, object] | None]:
    """The objects among the lines; None for a line that is none.

    Raises:
        UnreadableError: a line is nested too deeply, or no line is an object.
    """
    rows: list[Mapping[str, object] | None] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        except RecursionError:
            raise UnreadableError("no table: a line is nested too deeply") from None
        rows.append(row if isinstance(row, dict) else None)
    if rows and not any(rows):
        raise UnreadableError("no table: no line is a JSON object")
    return rows


def _first(cells: Mapping[str, object], columns: Iterable[str]) -> str:
    """The first of the columns that is not empty; a list of tags is joined by commas, of tags with scores the tags.

    Raises:
        UnreadableError: it holds half of a surrogate pair, which no encoding can write, or neither text nor tags.
    """
    value = next((cells[name] for name in columns if cells.get(name)), "")
    tags = list(value) if isinstance(value, list | dict) else [value]
    if not all(isinstance(tag, str | int | float) for tag in tags):
        raise UnreadableError(f"no table of captions: {str(value)[:40]!a} is no text and no list of tags")
    text = ", ".join(map(str, tags))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnreadableError(f"no text: {text[:40]!a} holds half of a surrogate pair")
    return text

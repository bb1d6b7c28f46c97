"""Presets: `presets/NAME.yaml` written into `params.yaml`, where nothing but the changed values moves.

ruamel.yaml says where each value stands; only those characters are replaced, so that comments, order and every
untouched line stay byte for byte, and one preset after the other gives the first file back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from anime_lora.config import paths
from anime_lora.config.load import check_params, parse_document, read_document
from anime_lora.errors import ParamsError
from anime_lora.files import write_bytes

FOLDER = Path("presets")
COMMENTS = 40
"""Column in which params.yaml's comments start; after a longer value three spaces stand before them."""


@dataclass(frozen=True)
class Value:
    """A value as a YAML text holds it: dotted path, source text, and the characters [start, end) it takes."""

    path: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Change:
    """One value that a preset changed."""

    path: str
    before: str
    after: str


def names(folder: Path = FOLDER) -> list[str]:
    """The presets there are, sorted."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def values(text: str) -> dict[str, Value]:
    """Every value of a YAML text by its dotted path; a list or a `{…}` mapping is one value."""
    root = YAML().compose(text)
    return {value.path: value for value in _walk(text, root, "")} if isinstance(root, MappingNode) else {}


def _walk(text: str, mapping: MappingNode, above: str) -> Iterator[Value]:
    for key, node in mapping.value:
        path = f"{above}{key.value}"
        if isinstance(node, MappingNode) and not node.flow_style:
            yield from _walk(text, node, f"{path}.")
        else:
            start, end = text.index(":", key.end_mark.index) + 1, _end(node)
            yield Value(path, text[start:end].strip(), start, max(start, end))


def _end(node: Node) -> int:
    """Where a node's last character stands; a block list's own mark lies behind the comments that follow it."""
    if not isinstance(node, CollectionNode) or node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def replace_values(text: str, changes: dict[str, str]) -> str:
    """`text` with other values at the paths of `changes`; each comment behind one is set to its column again."""
    present = values(text)
    for path in sorted(changes, key=lambda path: present[path].start, reverse=True):
        value = present[path]
        rest = text[value.end :]
        line_start = text.rfind("\n", 0, value.start) + 1
        head = f"{text[line_start : value.start]} {changes[path]}"
        padding = rest[: len(rest) - len(rest.lstrip(" "))]
        if padding and rest[len(padding) :].startswith("#"):
            rest = rest[len(padding) :]
            head += " " * (COMMENTS - len(head) if len(head) < COMMENTS else 3)
        text = text[:line_start] + head + rest
    return text


def apply(name: str, params: Path = paths.PARAMS, folder: Path = FOLDER) -> list[Change]:
    """Write the values of preset `name` into `params` and say what changed; a value that is the same stays as it is.

    Raises:
        ParamsError: no such preset, a value that `params` has no place for, or a result that does not fit.
            Nothing is written then.
    """
    text = read_text(params)
    result, changes = with_preset(text, name, params.name, folder)
    check_params(parse_document(result, params.name), f"{params.name} with preset {name}")
    if result != text:
        write_bytes(params, result.encode())
    return changes


def read_text(params: Path = paths.PARAMS) -> str:
    """The text of params.yaml, with the line ends it has.

    Raises:
        ParamsError: it is missing or broken.
    """
    read_document(params)
    return params.read_bytes().decode()


def with_preset(text: str, name: str, params: str, folder: Path = FOLDER) -> tuple[str, list[Change]]:
    """The text of `params` with the values of preset `name`, unchecked, and what changed.

    Raises:
        ParamsError: no such preset, or a value that the text has no place for.
    """
    if name not in names(folder):
        known = ", ".join(names(folder)) or f"none: run from the project's root, where {folder}/ lies"
        raise ParamsError(f"there is no preset {name}; the presets are: {known}")
    preset = (folder / f"{name}.yaml").read_bytes().decode()
    return with_values(text, {path: value.text for path, value in values(preset).items()}, params, f"preset {name}")


def with_values(text: str, sources: dict[str, str], params: str, owner: str) -> tuple[str, list[Change]]:
    """The text of `params` with other values, given as YAML by dotted path, unchecked, and what changed.

    Raises:
        ParamsError: a value that the text has no place for; `owner` is who sets it.
    """
    present = values(text)
    missing = [path for path in sources if path not in present]
    if missing:
        raise ParamsError(
            f"{owner} sets {', '.join(missing)}, which {params} lacks: add it (`git diff` shows what was there)"
        )
    # `1e-4` and `1.0e-4` are the same value: compared is what YAML reads, not the text
    now = parse_document(text, params)
    changes = [
        Change(path, present[path].text, source)
        for path, source in sources.items()
        if _at(now, path) != parse_document(f"value: {source}", path)["value"]
    ]
    return replace_values(text, {change.path: change.after for change in changes}), changes


def _at(document: Any, path: str) -> Any:
    """The plain value at a dotted path."""
    for key in path.split("."):
        document = document[key]
    return document

"""The settings of `params.yaml` that name a path, and where none of them may point: nothing of the user's is deleted.

DVC empties a stage's outputs before the stage starts, and a stage replaces its folder as a whole. An image that lies
there is gone by then, so it is refused here, before either of them touches anything.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from anime_lora.config import paths
from anime_lora.config.section import NONE

SETTINGS = (
    "base.model",
    "ingest.sources",
    "validate_sample.sources",
    "validate_sample.counterparts",
    "validate_sample.second_adapter",
    "validate_sample.controlnet",
    "evaluate.encoders",
    "evaluate.champion",
)
"""Every setting whose value is a path, or a list of paths."""
OPTIONAL = (
    "validate_sample.sources",
    "validate_sample.counterparts",
    "validate_sample.second_adapter",
    "evaluate.champion",
)
"""Those of them that `dvc.yaml` names as deps, and that may name nothing."""
DVC_FOLDER = Path(".dvc")
LOCAL = ("file", "local")
"""Protocols of URLs that name a path of this machine."""

YamlValue: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"
Document: TypeAlias = dict[str, YamlValue]
"""`params.yaml` as plain values."""


def path_errors(document: Document) -> list[str]:
    """One line for each path that equals, holds or lies in a folder that is emptied; links and upper case seen through.

    Args:
        document: `params.yaml` as plain values, also one that does not fit otherwise.
    """
    return [
        f"{key} = {value!r}: {error}; change it in params.yaml"
        for key, value in _paths_in(document)
        if (error := path_error(value))
    ]


def null_errors(document: Document) -> list[str]:
    """One line for each path that is null: DVC depends on the path itself, and stops with "unexpected error" there."""
    return [
        f"{setting} = null: DVC has to depend on a path; write {NONE} for none"
        for setting in OPTIONAL
        if _value(document, setting) is None
    ]


def path_error(value: str) -> str | None:
    """Why the path must not be read from there, and what to do; None where it may, and for what is no local path."""
    for path in map(Path, _local_paths(value)):
        for folder, owner in _emptied():
            inside, around = _within(path, folder), _within(folder, path)
            if inside:
                relation = "is" if around else "lies in"
                return f"it {relation} {folder}, which {owner}; move it elsewhere, such as data/mine, and name that"
            if around:
                return f"it holds {folder}, which {owner}; name the folder of your own files in it"
    return None


def _value(document: Document, setting: str) -> YamlValue:
    """The value of a setting; `NONE` where the document has none."""
    section, name = setting.split(".")
    values = document.get(section)
    return values.get(name, NONE) if isinstance(values, dict) else NONE


def _paths_in(document: Document) -> Iterator[tuple[str, str]]:
    """Full key and text of every path in the document."""
    for setting in SETTINGS:
        value = _value(document, setting)
        if isinstance(value, str):
            yield setting, value
        elif isinstance(value, list):
            yield from ((f"{setting}.{number}", one) for number, one in enumerate(value) if isinstance(one, str))


def _emptied() -> Iterator[tuple[Path, str]]:
    """Each folder that is emptied, and by whom."""
    for folder in paths.WRITES:
        yield folder, f"DVC and `{folder.name}` empty"
    yield paths.CACHE, "holds work in progress only"
    yield DVC_FOLDER, "is DVC's own"


def _local_paths(value: str) -> Iterator[str]:
    """The local paths in a setting; in a chain of fsspec URLs (`zip://*.png::file:///faces.zip`) one for each link."""
    parts = value.split("::")
    for part in parts:
        protocol, sign, rest = part.partition("://")
        if "\0" not in part and (not sign or protocol.lower() in LOCAL):
            yield rest if sign else part


def _within(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or lies below it: as written, with links resolved, or as one folder on the disk."""
    written = Path(os.path.normpath(inner.absolute())), os.path.normpath(outer.absolute())
    resolved = Path(os.path.realpath(inner)), os.path.realpath(outer)
    below = any(one.is_relative_to(other) for one, other in (written, resolved))
    return below or _same_folder_above(inner, outer)


def _same_folder_above(inner: Path, outer: Path) -> bool:
    """Whether a folder above `inner` is `outer`, whatever its name: on a disk that takes upper for lower case."""
    if not outer.exists():
        return False
    real = Path(os.path.realpath(inner))
    return any(above.exists() and above.samefile(outer) for above in (real, *real.parents))

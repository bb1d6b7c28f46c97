"""The rooms of the library that a module is made of: what it imports, at whatever remove and also inside functions."""

import ast
from pathlib import Path

from tests.house.doors import ROOT

LIBRARY = "anime_lora"
HALL = ("__init__", "cli", "config", "errors", "executors", "files", "folder_swap", "progress")
"""Modules and rooms whose changes rerun no stage: no value, pixel or weight depends on them.

`config` says which settings are right, and their values are params of the stages; the version is a release's.
`images` is none of them: it decides the pixels of every stage that opens an image.
"""


def imported(file: Path, root: Path = ROOT) -> set[str]:
    """Dotted names of the modules under `anime_lora` that `file` imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:  # no relative imports: a test sees to it
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in submodules if module_file(name, root)}
            names |= modules if len(modules) == len(submodules) else modules | {node.module}
    return {name for name in names if name.split(".")[0] == LIBRARY}


def module_file(name: str, root: Path = ROOT) -> Path | None:
    """The file of a dotted module or package name; None when there is none."""
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def closure(module: str, root: Path = ROOT) -> set[Path]:
    """Every library file that `module` is made of, with itself, relative to `root`."""
    waiting, files = [module], set[Path]()
    while waiting:
        file = module_file(waiting.pop(), root)
        if file is not None and file not in files:
            files.add(file)
            waiting += imported(file, root)
    return {file.relative_to(root) for file in files}


def rooms(module: str, root: Path = ROOT) -> list[str]:
    """What a stage names as code deps: the folders, or modules beside them, that `module` is made of; no hall."""
    first = {Path(*file.parts[:2]) for file in closure(module, root) if len(file.parts) > 1}
    return sorted(path.as_posix() for path in first if path.stem not in HALL)

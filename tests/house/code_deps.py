"""The library files a stage is made of; `python -m tests.house.code_deps --write` puts them into `dvc.yaml`.

A file belongs to a stage when the stage's module imports it, at whatever remove and also inside functions, or when
one of those modules names a data file that lies beside it (a template, a stylesheet). Packages' `__init__.py` count
only when a name is taken from them: they hold nothing else that runs (a test sees to it).
"""

import ast
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.house.doors import ROOT, doors

LIBRARY = "anime_lora"


def imported(file: Path, root: Path = ROOT) -> set[str]:
    """Dotted names under `anime_lora` that `file` imports, as far as they are modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, file, root)
            submodules = {f"{source}.{alias.name}" for alias in node.names}
            modules = {name for name in submodules if module_file(name, root)}
            found |= modules if len(modules) == len(submodules) else modules | {source}
    return {name for name in found if name.split(".")[0] == LIBRARY}


def _absolute(node: ast.ImportFrom, file: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = file.relative_to(root).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def module_file(name: str, root: Path = ROOT) -> Path | None:
    """The file of a dotted module or package name; None when there is none."""
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def beside(file: Path) -> set[Path]:
    """Data files next to `file` that a string in it names; of a named folder, all files."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 100):
            continue
        target = file.parent / node.value if "\0" not in node.value and "\n" not in node.value else file
        if target.suffix and target.suffix != ".py" and target.is_file():
            found.add(target)
        elif target.parent == file.parent and target.is_dir() and target.name.isidentifier():
            found |= {each for each in target.rglob("*") if each.is_file() and "__pycache__" not in each.parts}
    return {each for each in found if each.suffix not in {".py", ".pyc"}}


def code_deps(module: str, root: Path = ROOT) -> list[str]:
    """Sorted paths, relative to `root`, of every library file `module` is made of."""
    waiting, files = [module], set[Path]()
    while waiting:
        file = module_file(waiting.pop(), root)
        if file is None or file in files:
            continue
        files.add(file)
        waiting += imported(file, root)
    data = set[Path]().union(*(beside(file) for file in files))
    return sorted(file.relative_to(root).as_posix() for file in files | data)


def is_code(dep: str) -> bool:
    """Whether an entry of `deps` is a library file."""
    return dep.startswith(f"{LIBRARY}/")


def write(path: Path = ROOT / "dvc.yaml") -> None:
    """Rewrite the code deps of every stage; everything else stays as it is."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 200
    document = yaml.load(path.read_text(encoding="utf-8"))
    for door in doors():
        deps = document["stages"][door.stage]["deps"]
        for place in reversed([i for i, dep in enumerate(deps) if is_code(dep)]):
            del deps[place]
        deps.extend(code_deps(door.module))
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        for each in doors():
            print(each.stage, *code_deps(each.module), sep="\n  ")

"""The size and the words of the code in numbers: `python -m tests.house.figures` prints them, a test holds limits.

Measured are the packages and the benchmarks, without tests. `__init__.py` says what lives in a room and counts neither
as a file of the room nor in the median.
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.house.doors import ROOT

CODE = ("anime_lora", "tasks", "flows", "pocket", "benchmarks")
PRIVATE_WORDS = frozenset({
    "picture", "pictures", "drawing", "drawings", "draw", "draws", "drawn", "paint", "painted", "paints",
    "coin", "coins", "visit", "visits", "artist", "weigh", "guide", "found", "told", "said", "shown", "wanted",
    "kept", "judge", "judges", "judged", "judgement", "trial", "ready", "committable", "equipped", "fault",
    "listened", "listen", "ear", "deaf", "refuse", "refuses", "refused", "doubt", "doubts", "loud", "homeless",
})  # fmt: skip
"""Words that no name of ours is made of; the field has one for each of them, or the name says what the value is."""

PROSE = re.compile(
    r"\b(?:pictures?|paint(?:s|ed|ing)?|coins?|deaf|homeless|doubts?|judge[sd]?|judgements?"
    r"|without a word|numbers that are no numbers|visit's draws?)\b",
    re.IGNORECASE,
)
"""Of these words, and figures of speech beside them, those that plain English does not need in prose either."""

QUOTED = ("pocket/faces/captions.py",)
"""Files whose strings are other people's words: the captions' vocabulary, which the published tokenizer holds."""

READ_AS_JSON = ("anime_lora/files.py", "read_jsonl")
"""Gives the rows of a file as they stand there, before the caller turns them into its own type."""

DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|fmt:|ruff:|pragma|!)")


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root and its text."""

    path: Path
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        """The dotted name."""
        return ".".join(part for part in self.path.with_suffix("").parts if part != "__init__")

    @property
    def room(self) -> str:
        """The folder, in dots; a module of the hall lies in `anime_lora` itself."""
        return ".".join(self.path.parent.parts)

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.text.count("\n")

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function, also those inside others."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def sources(root: Path = ROOT, packages: tuple[str, ...] = CODE) -> list[Source]:
    """Every Python file of `packages`, sorted by path."""
    files = sorted(file for package in packages for file in (root / package).rglob("*.py"))
    return [Source(file.relative_to(root), file.read_text(encoding="utf-8")) for file in files]


def pieces(code: list[Source]) -> list[Source]:
    """The files that count: all without `__init__.py`."""
    return [source for source in code if source.path.name != "__init__.py"]


def files_per_folder(code: list[Source]) -> Counter[str]:
    """How many files lie directly in each folder."""
    return Counter(source.path.parent.as_posix() for source in pieces(code))


def long_functions(code: list[Source], limit: int) -> list[str]:
    """`path:line name (lines)` of each function with more than `limit` lines."""
    long = []
    for source in code:
        for function in source.functions():
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > limit:
                long.append(f"{source.path}:{function.lineno} {function.name} ({lines})")
    return long


def names_used(source: Source) -> set[str]:
    """Dotted names that `source` imports or reads from a module it imports: `room.module.name`."""
    modules: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname: alias.name for alias in node.names if alias.asname}
    read = {
        f"{modules[node.value.id]}.{node.attr}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    return set(modules.values()) | read


def untyped(annotation: ast.expr | None, aliases: frozenset[str]) -> bool:
    """Whether a type holds `dict[str, Any]`, `Mapping[str, Any]` or a name that stands for one of them."""
    if annotation is None:
        return False
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id in aliases:
            return True
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            named = node.value.id in {"dict", "Mapping", "MutableMapping"}
            if named and isinstance(node.slice, ast.Tuple) and ast.unparse(node.slice.elts[-1]) in {"Any", "object"}:
                return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "[str, Any]" in node.value:
            return True
    return False


def untyped_aliases(code: list[Source]) -> frozenset[str]:
    """Module-level names that stand for a `dict[str, Any]`."""
    return frozenset(
        target.id
        for source in code
        for node in source.tree.body
        if isinstance(node, ast.Assign) and untyped(node.value, frozenset())
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def signatures(source: Source) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """What can be imported of a module, with the function behind it: its functions, and its classes' methods."""
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                public = isinstance(member, ast.FunctionDef) and (
                    not member.name.startswith("_") or member.name == "__init__"
                )
                if public and isinstance(member, ast.FunctionDef):
                    yield node.name, member


def untyped_between_rooms(code: list[Source]) -> list[str]:
    """`path:line name` of each function that another room imports and whose signature holds a `dict[str, Any]`."""
    used: dict[str, set[str]] = {}
    for source in code:
        used.setdefault(source.room, set()).update(names_used(source))
    aliases = untyped_aliases(code)
    crossing = []
    for source in code:
        abroad = set[str]().union(*(names for room, names in used.items() if room != source.room))
        for name, function in signatures(source):
            args = function.args
            types = [arg.annotation for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]] + [function.returns]
            known = (source.path.as_posix(), function.name) == READ_AS_JSON
            if not known and f"{source.module}.{name}" in abroad and any(untyped(each, aliases) for each in types):
                crossing.append(f"{source.path}:{function.lineno} {function.name}")
    return crossing


def defined_names(source: Source) -> Iterator[tuple[int, str]]:
    """Line and name of everything that `source` names itself: what it only calls may be another library's."""
    yield 1, source.path.stem
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield 0, node.asname
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.lineno, node.name


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def private_names(code: list[Source]) -> list[str]:
    """`path:line name` of each name of ours that is made of a private word; each name once a file."""
    private: dict[tuple[Path, str], int] = {}
    for source in code:
        for line, name in defined_names(source):
            if words(name) & PRIVATE_WORDS:
                private.setdefault((source.path, name), line)
    return [f"{path}:{line} {name}" for (path, name), line in private.items()]


def private_prose(texts: dict[str, str]) -> list[str]:
    """`path:line word` of each private word or figure of speech in prose."""
    return [
        f"{path}:{number} {match[0]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        for match in PROSE.finditer(line)
    ]


def prose(root: Path = ROOT) -> dict[str, str]:
    """What people read: documents and settings in whole, of the code docstrings, messages and comments."""
    files = [root / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "params.yaml", "dvc.yaml")]
    files += [root / name for name in ("compose.yaml", "prefect.yaml", "Dockerfile", "Makefile", "pyproject.toml")]
    files += [*sorted((root / "docs").rglob("*.md")), *sorted((root / "presets").glob("*.yaml"))]
    whole = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files if file.is_file()}
    code = {source.path.as_posix(): quoted(source) for source in sources(root) if source.path.as_posix() not in QUOTED}
    return whole | code


def quoted(source: Source) -> str:
    """The sentences in the strings and comments of `source`, each in its line.

    Left out are the names between them, and strings of one word: keys of a file's format, and values.
    """
    lines = [""] * (source.lines + 2)
    texts = [
        (node.lineno, node.value)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) > 1
    ]
    for start, text in texts + list(comments(source)):
        for number, line in enumerate(text.splitlines(), start):
            lines[min(number, len(lines)) - 1] += f" {line}"
    return "\n".join(lines)


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Line and text of each comment for people; directives to tools are none."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
            yield token.start[0], token.string


def comment_share(code: list[Source]) -> float:
    """The part of all lines that hold a comment."""
    return sum(1 for source in code for _ in comments(source)) / sum(source.lines for source in code)


@dataclass(frozen=True)
class Figures:
    """What is counted, with the places where there are any."""

    folder: str
    files_in_it: int
    median_lines: float
    longest: str
    lines_of_it: int
    long_functions: list[str]
    untyped: list[str]
    private_names: list[str]
    private_prose: list[str]
    comment_share: float


def measure(root: Path = ROOT) -> Figures:
    """The figures of the checkout at `root`."""
    code = sources(root)
    (folder, files), *_ = files_per_folder(code).most_common(1)
    longest = max(code, key=lambda source: source.lines)
    return Figures(
        folder,
        files,
        statistics.median(source.lines for source in pieces(code)),
        longest.path.as_posix(),
        longest.lines,
        long_functions(code, 60),
        untyped_between_rooms(code),
        private_names(code),
        private_prose(prose(root)),
        comment_share(code),
    )


def main(within: str = "") -> None:
    """Print every figure, and the places that begin with `within`."""
    figures = measure()
    code = sources()
    print(f"files in a folder        most {figures.files_in_it} ({figures.folder}); limit 15")
    for folder, files in files_per_folder(code).most_common():
        lines = [source.lines for source in pieces(code) if source.path.parent.as_posix() == folder]
        print(f"    {folder:<36} {files:>3} files, median {statistics.median(lines):.0f}, longest {max(lines)}")
    print(f"lines of a file          median {figures.median_lines:.0f}; aim 100-200")
    print(f"                         longest {figures.lines_of_it} ({figures.longest}); limit 350")
    print(f"comment lines            {figures.comment_share:.2%}; aim 1-3 %")
    for title, places in (
        ("functions over 60 lines ", figures.long_functions),
        ("dict[str, Any] between rooms", figures.untyped),
        ("private words in names  ", figures.private_names),
        ("private words in prose  ", figures.private_prose),
    ):
        print(f"{title} {len(places)}")
        for place in places:
            if place.startswith(within):
                print(f"    {place}")


if __name__ == "__main__":
    main(*sys.argv[1:2])

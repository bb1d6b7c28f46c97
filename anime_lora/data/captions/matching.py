"""Captions beside images: which file or row speaks of which image, and which of none."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from anime_lora.data.captions.encodings import UnclearError, UnreadableError, decode_text
from anime_lora.data.captions.tables import read_table
from anime_lora.data.manifest import Sidecar
from anime_lora.data.sources.listing import in_reading_order
from anime_lora.data.sources.source_file import SourceFile, stem, suffix
from anime_lora.image_formats import SUFFIXES

TEXT = (".txt", ".caption")
TABLES = ("metadata.jsonl", ".csv", ".tsv")
NOTES = (
    *(".jsonl", ".json", ".md", ".rst", ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".ini", ".log", ".parquet"),
    *(".py", ".sh", ".url", ".sha256", ".md5"),
)
"""Suffixes of files that lie beside images and are none; of these only metadata.jsonl is read."""
PRECEDENCE = (".tsv", ".csv", ".jsonl", ".txt", ".caption")
"""A later one wins: a caption file of the image's own over a table."""
MAX_BYTES = 64 << 20
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")

Lines = Literal["joined", "first", "one_per_use"]
"""What several lines of a caption are: one text, of which only the first counts, or one for each use in training."""


@dataclass(frozen=True)
class Caption:
    """What an image is said to show, and the file of the source that says so."""

    text: str
    """With `one_per_use`, a line for each of several captions."""
    file: str


@dataclass(frozen=True)
class Captions:
    """What the sidecars of a source say."""

    by_image: dict[str, Caption] = field(default_factory=dict)
    """By the image's path."""
    sidecars: list[Sidecar] = field(default_factory=list)
    """One for every sidecar, in order of their paths: what became of it."""

    @property
    def unreadable(self) -> dict[str, str]:
        """Why a sidecar was passed over, by its path."""
        return {one.path: str(one.reason) for one in self.sidecars if one.status == "unreadable"}


@dataclass(frozen=True)
class _Row:
    """What one sidecar, or one row of it, says of an image."""

    target: str
    """The image's path as it is named: with or without its suffix."""
    text: str


@dataclass(frozen=True)
class _Content:
    """What a sidecar says, or why it cannot be read."""

    rows: list[_Row] = field(default_factory=list)
    passed_over: int = 0
    """Lines of a table that are no rows, or name no image."""
    unreadable: str | None = None


def is_sidecar(path: str) -> bool:
    """Whether a file holds captions (or notes) rather than an image."""
    return path.lower().endswith((*TEXT, *TABLES, *NOTES))


def read_captions(files: list[SourceFile], lines: Lines = "joined") -> Captions:
    """The captions of a source's images; a sidecar that cannot be read is named and passed over.

    Args:
        files: of one source, images and sidecars.
        lines: what becomes of several lines.
    """
    images = Images(file.path for file in files if not is_sidecar(file.path))
    sidecars = [file for file in files if is_sidecar(file.path)]
    contents = _read_sidecars(sidecars)
    captions, orphans = _match(images, sidecars, contents, lines)
    return Captions(
        captions, [_sidecar(file, contents.get(number), orphans[number]) for number, file in enumerate(sidecars)]
    )


def _sidecar(file: SourceFile, content: _Content | None, orphans: list[str]) -> Sidecar:
    """What became of a sidecar; one without content is a note."""
    kind: Literal["caption", "table", "note"] = "caption" if file.path.lower().endswith(TEXT) else "table"
    status: Literal["used", "orphan", "empty", "unreadable", "ignored"] = "used"
    reason = None
    if content is None:
        kind, status, reason = (
            "note",
            "ignored",
            "no image and no table of captions: of .jsonl files only metadata.jsonl is read",
        )
        content = _Content()
    elif content.unreadable is not None:
        status, reason = "unreadable", content.unreadable
    elif not any(row.text.strip() for row in content.rows):
        status, reason = "empty", "no caption in it"
    elif len(orphans) == len(content.rows):
        status, reason = "orphan", "no image of its name"
    elif content.passed_over:
        reason = f"{content.passed_over} lines are no rows that name an image"
    return Sidecar(
        source=file.source, path=file.path, bytes=file.size, kind=kind, status=status, reason=reason,
        captions=len(content.rows) - len(orphans) if status == "used" else 0,
        orphans=orphans if kind == "table" else [],
    )  # fmt: skip


def _read_sidecars(sidecars: list[SourceFile]) -> dict[int, _Content]:
    """By number, what each sidecar says; notes are left out.

    Archives are read in their own order. Captions whose encoding cannot be told are decoded like the others of the
    source, where those are in one of the candidates.
    """
    contents: dict[int, _Content] = {}
    unclear: dict[int, bytes] = {}
    encodings: Counter[str] = Counter()
    for number in in_reading_order(sidecars):
        file = sidecars[number]
        if not file.path.lower().endswith((*TEXT, *TABLES)):
            continue
        content = b""
        try:
            content = _bytes(file)
            decoded = decode_text(content)
            encodings[decoded.encoding] += 1
            contents[number] = _parse(file.path, decoded.text)
        except UnclearError as error:
            contents[number], unclear[number] = _Content(unreadable=str(error)), content
        except Exception as error:  # archives and remote file systems have errors of their own
            contents[number] = _Content(unreadable=str(error) or type(error).__name__)
    usual = next((name for name, _ in encodings.most_common() if name not in UNICODE), None)
    for number, content in unclear.items() if usual else ():
        with suppress(UnreadableError):
            contents[number] = _parse(sidecars[number].path, decode_text(content, usual).text)
    return contents


def _bytes(file: SourceFile) -> bytes:
    """The bytes of a sidecar.

    Raises:
        UnreadableError: it must not be read.
    """
    if file.problem:
        raise UnreadableError(file.problem.reason)
    if file.size > MAX_BYTES:
        raise UnreadableError(f"{file.size / 2**20:.1f} MiB, more than {MAX_BYTES >> 20} MiB")
    return file.read()


def _parse(path: str, text: str) -> _Content:
    """What a sidecar says.

    Raises:
        UnreadableError: it is no table.
    """
    if path.lower().endswith(TEXT):
        return _Content([_Row(stem(path), text)])
    table = read_table(path, text)
    return _Content([_Row(name, caption) for name, caption in table.rows], table.passed_over)


class Images:
    """The images of a source by what sidecars call them.

    Args:
        paths: of the images.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: list[dict[str, list[str]]] = [defaultdict(list) for _ in range(4)]
        for path in paths:
            name = unicodedata.normalize("NFC", path)
            for names, key in zip(
                self._by_name, (name, stem(name), name.casefold(), stem(name).casefold()), strict=True
            ):
                names[key].append(path)

    def named(self, target: str) -> tuple[int, list[str]]:
        """The images that a sidecar means, and how loosely: 0 by the whole name, up to 5 by a stem in other case.

        A name is the same in composed and decomposed Unicode. Only where no image has the name in full are images
        taken that have it without its suffix, and then those that have it in other case.
        """
        name = unicodedata.normalize("NFC", target)
        bare = stem(name) if suffix(name) in SUFFIXES else name
        whole, stems, folded, folded_stems = self._by_name
        ways = [
            (whole, name), (stems, name), (stems, bare),
            (folded, name.casefold()), (folded_stems, name.casefold()), (folded_stems, bare.casefold()),
        ]  # fmt: skip
        return next(
            ((looseness, names[key]) for looseness, (names, key) in enumerate(ways) if key in names), (len(ways), [])
        )


def _match(
    images: Images, sidecars: list[SourceFile], contents: dict[int, _Content], lines: Lines
) -> tuple[dict[str, Caption], dict[int, list[str]]]:
    """Each image's caption, and by number of the sidecar the names that no image has.

    Of several captions for one image that of the later kind in `PRECEDENCE` wins, then the one that names it most
    exactly, then the last.
    """
    captions: dict[str, Caption] = {}
    ranks: dict[str, tuple[int, int, str]] = {}
    orphans: dict[int, list[str]] = defaultdict(list)
    for number, content in sorted(contents.items()):
        file = sidecars[number].path
        kind = next(number for number, ending in enumerate(PRECEDENCE) if file.lower().endswith(ending))
        for row in content.rows:
            looseness, paths = images.named(row.target)
            if not paths:
                orphans[number].append(row.target)
            text = apply_lines(row.text, lines)
            for path in paths if text else ():
                rank = (kind, -looseness, file)
                if rank == ranks.get(path) and lines == "one_per_use":
                    captions[path] = Caption(f"{captions[path].text}\n{text}", file)
                elif rank >= ranks.get(path, rank):
                    captions[path], ranks[path] = Caption(text, file), rank
    return captions, orphans


def apply_lines(text: str, lines: Lines) -> str:
    """A caption of one line, or, with `one_per_use`, a line for each that holds words."""
    if lines == "joined":
        return " ".join(text.split())
    each = [one for line in text.splitlines() if (one := " ".join(line.split()))]
    return "\n".join(each[:1] if lines == "first" else each)

"""Every file of the sources in one list: what could be an image, what lies beside images, and what is ignored."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from anime_lora.data.captions.matching import Captions, Lines, is_sidecar, read_captions
from anime_lora.data.manifest import IngestedFile, IngestSummary, Sidecar
from anime_lora.data.sources.ignored import ignored_files
from anime_lora.data.sources.source_file import SourceFile


@dataclass(frozen=True)
class Accounts:
    """The files of all sources."""

    images: list[SourceFile]
    """Those that could be images, source by source, sorted by path."""
    sidecars: list[Sidecar]
    """The others, likewise."""
    captions: dict[str, Captions]
    """By source."""

    def summarize(self, rows: list[IngestedFile]) -> IngestSummary:
        """What became of every file, in numbers.

        Args:
            rows: of the manifest.
        """
        taken = [row for row in rows if row.status == "taken"]
        without = [f"{row.source}: {row.path}" for row in taken if not row.caption]
        return IngestSummary(
            files=len(rows) + len(self.sidecars),
            images=dict(sorted(Counter(row.code or row.status for row in rows).items())),
            sidecars=dict(sorted(Counter(f"{one.kind} {one.status}" for one in self.sidecars).items())),
            orphan_rows=sum(len(one.orphans) for one in self.sidecars),
            with_caption=len(taken) - len(without),
            without_caption=without if len(without) < len(taken) else [],
        )


def account(files: list[SourceFile], lines: Lines) -> Accounts:
    """Sort files into lists and read the captions among them.

    Args:
        files: of all sources.
        lines: what several lines of a caption are.
    """
    images: list[SourceFile] = []
    sidecars: list[Sidecar] = []
    captions: dict[str, Captions] = {}
    by_source: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        by_source[file.source].append(file)
    for source, all_files in by_source.items():
        ignored = ignored_files(file.path for file in all_files)
        others = [file for file in all_files if file.path not in ignored]
        captions[source] = read_captions(others, lines)
        images += [file for file in others if not is_sidecar(file.path)]
        sidecars += captions[source].sidecars
        sidecars += [
            Sidecar(source, file.path, file.size, "ignored", "ignored", ignored[file.path], 0, [])
            for file in all_files
            if file.path in ignored
        ]
    return Accounts(images, sorted(sidecars, key=lambda one: (one.source, one.path)), captions)

"""The files of every source, which is a folder, an archive or an image, or a URL of one of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from anime_lora.config.data import Ingest
from anime_lora.data.sources.archives import ARCHIVES, Limits, list_archive
from anime_lora.data.sources.folder import describe_file, list_folder
from anime_lora.data.sources.redaction import redact
from anime_lora.data.sources.source_file import SourceFile, printable
from anime_lora.errors import SourceError
from anime_lora.image_formats import SUFFIXES


def list_all(section: Ingest) -> list[SourceFile]:
    """The files of every source of `ingest.sources`, source by source.

    Raises:
        SourceError: as `list_files`.
    """
    limits = Limits(section.max_files, section.max_archive_ratio, section.max_file_mb)
    return [file for source in section.sources for file in list_files(source, limits)]


def list_files(source: str, limits: Limits) -> list[SourceFile]:
    """All files of `source`, sorted by path; what cannot be read of it is among them, with its problem.

    Raises:
        SourceError: it does not exist, cannot be listed, or holds more files than allowed.
    """
    files: list[SourceFile] = []
    for file in _open(source, limits):
        files.append(file)
        if len(files) > limits.max_files:
            raise SourceError(
                f"{redact(source)}: more than ingest.max_files = {limits.max_files} files; "
                "raise the limit or split the source"
            )
    named = (file if file.path.isprintable() else replace(file, path=printable(file.path)) for file in files)
    return sorted(named, key=lambda file: file.path)


def in_reading_order(files: list[SourceFile]) -> list[int]:
    """Numbers of the files in the order in which their archives hold them: going back in a .tar.gz unpacks it anew."""
    return sorted(range(len(files)), key=lambda number: (files[number].source, files[number].place))


def _open(source: str, limits: Limits) -> Iterator[SourceFile]:
    if source.lower().startswith(("http://", "https://")):
        from anime_lora.data.sources.http import list_http  # a folder needs none of what it imports

        return list_http(source, limits)
    if "://" in source:
        from anime_lora.data.sources.remote import list_remote

        return list_remote(source, limits)
    path = Path(source)
    if path.is_dir():
        return list_folder(source, path)
    if path.is_file() and source.lower().endswith(ARCHIVES):
        return list_archive(source, path, limits)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return iter([describe_file(source, path.name, path)])
    kind = "is neither a folder, an archive nor an image" if path.exists() else "does not exist"
    raise SourceError(
        f"{source} {kind}: ingest.sources takes folders, {', '.join(ARCHIVES)} or URLs such as "
        "https://host/faces.zip and s3://bucket/faces"
    )

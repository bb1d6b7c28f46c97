"""The files behind an fsspec URL: buckets, FTP, SFTP and others; HTTP has a module of its own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from anime_lora.data.sources.archives import ARCHIVES, Limits, list_archive
from anime_lora.data.sources.download import Version, download
from anime_lora.data.sources.redaction import redact
from anime_lora.data.sources.retry import with_retries
from anime_lora.data.sources.source_file import SourceFile
from anime_lora.errors import SourceError

VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")
"""Names under which remote file systems say that a file has changed, the best first."""


def list_remote(url: str, limits: Limits) -> Iterator[SourceFile]:
    """Its files: below a folder, in an archive, or the one it names.

    Raises:
        SourceError: it cannot be listed, or holds nothing.
    """
    try:
        system, root = fsspec.core.url_to_fs(url)
        if url.lower().endswith(ARCHIVES) and with_retries(partial(system.isfile, root)):
            fetched = download(url, PurePosixPath(root).name, partial(_fetch, system, root))
            return list_archive(redact(url), fetched.path, limits, fetched.version)
        files = with_retries(partial(system.find, root, detail=True))
    except Exception as error:  # every fsspec backend has its own errors
        reason = redact(f"{type(error).__name__}: {error}")
        raise SourceError(f"{redact(url)} cannot be listed: {reason}") from None
    if not files:
        raise SourceError(f"{redact(url)} does not exist or holds no files")
    return (_file(redact(url), system, root, path, info) for path, info in files.items())


def _file(source: str, system: Any, root: str, path: str, info: dict[str, Any]) -> SourceFile:
    relative = path.removeprefix(root).lstrip("/") or PurePosixPath(path).name
    read = partial(with_retries, partial(system.cat_file, path))
    return SourceFile(source, relative, int(info.get("size") or 0), read, version=_version(info) or None)


def _version(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in VERSIONS if info.get(name)), "")


def _fetch(system: Any, root: str, target: Path, known: Version) -> Version | None:
    latest = Version(_version(with_retries(partial(system.info, root))))
    if latest.etag and latest == known:
        return None
    with_retries(partial(system.get_file, root, str(target)))
    return latest

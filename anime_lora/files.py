"""Files that are whole or absent: written beside, then renamed; JSON with sorted keys, same bytes each time."""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from anime_lora import folder_swap
from anime_lora.errors import DatasetError, FullDiskError, OutputError

Row = TypeVar("Row")
CHUNK = 1 << 20
"""Bytes that are hashed at once."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers when there is no room: on the disk, in the user's share of it, in one file."""
DEBRIS_AGE = 3600.0
"""Seconds after which a file that is half written is nobody's."""
JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that desktops leave in every folder they show."""


def sha256_file(path: Path) -> str:
    """Hex sha256 of the file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def stamp(path: Path) -> str | None:
    """Size and time of change, which a file keeps while nobody writes to it; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return f"{stat.st_size}|{stat.st_mtime_ns}"


def intact_stamp(path: Path, written: str, sha256: str) -> str | None:
    """The stamp of a file that holds what was written; None where it is lost or holds something else.

    Args:
        path: the file.
        written: its stamp after it was written; while it has that, it is not read.
        sha256: hex sha256 of what was written.
    """
    now = stamp(path)
    if now == written or now is None:
        return now
    return now if _holds(path, sha256) else None


def check_unchanged(hashes: Mapping[Path, str], stage: str) -> None:
    """Make sure that files still hold what a stage wrote; they are read on all cores.

    Args:
        hashes: hex sha256 of each file's bytes.
        stage: the one that wrote them.

    Raises:
        DatasetError: one was changed or is lost; names the first, how many more, and what to run.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashlib lets go of the interpreter's lock
        changed = [
            path for path, same in zip(hashes, pool.map(_holds, hashes, hashes.values()), strict=True) if not same
        ]
    if changed:
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        raise DatasetError(f"{changed[0]}{more} changed after {stage}: run `dvc repro {stage}`, then this again")


def _holds(path: Path, sha256: str) -> bool:
    try:
        return sha256_file(path) == sha256
    except OSError:
        return False


@contextmanager
def full_disk_named(folder: Path, needed: int) -> Iterator[None]:
    """Turn a full disk into one clear error.

    Args:
        folder: where the block writes.
        needed: how many bytes.

    Raises:
        FullDiskError: no space or quota is left, or a file may not become so large.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(folder).free / 2**20 if folder.is_dir() else 0
        raise FullDiskError(
            f"no space left in {folder} ({error.strerror}): {free:.1f} MiB free, {needed / 2**20:.1f} MiB needed for "
            "the next file: free some and run the same command again; what was made so far is kept"
        ) from error


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write `content` to `path` so that a reader sees the old file or the whole new one.

    Args:
        path: the file.
        content: its bytes.
        sync: wait until they are on the disk. Without it, a machine that loses power may keep a part of the file or
            none: for what `intact_stamp` looks at before it is used.

    Raises:
        FullDiskError: the disk is full.
    """
    with full_disk_named(path.parent, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(path, content, sync)


def _write_beside(path: Path, content: bytes, sync: bool) -> None:
    beside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one sorted JSON object per line, in the order given; a row is a dict or a dataclass."""
    write_text(path, "".join(map(jsonl_line, rows)))


def jsonl_line(row: object) -> str:
    """A dict or a dataclass as one line of sorted JSON."""
    return LINE.encode(row) + "\n"


def _as_dict(value: object) -> dict[str, Any]:
    """The fields of a dataclass; what holds further ones comes back here."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"a {type(value).__name__} is no JSON")


LINE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, default=_as_dict)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """The rows of a JSON-lines file as a dataclass; keys that it has no field for are left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is no JSON, or lacks a field or holds a value of another type; says which line and field.
    """
    adapter = TypeAdapter(row_type)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        try:
            rows += [adapter.validate_json(line)] if line else []
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"line {number}: {place or 'row'}: {first['msg'].lower()}") from None
    return rows


@contextmanager
def fresh_folder(path: Path, writes: Collection[str]) -> Iterator[Path]:
    """A temporary folder that replaces `path` when the block ends well and vanishes when it does not.

    Args:
        path: the folder to replace; it may be missing, a link to a folder, or the place where a disk is mounted.
        writes: patterns of what the caller writes into it, as for `foreign_files`.

    Raises:
        OutputError: `path` holds other files, before the block or after it; it is then as it was.
    """
    folder = path.resolve() if path.is_symlink() else path
    check_no_foreign_files(folder, writes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder_swap.finish(folder)
    beside = folder_swap.place_for_new(folder)
    beside.mkdir()
    try:
        yield beside
        check_no_foreign_files(folder, writes)
        folder_swap.swap(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_no_foreign_files(path: Path, writes: Collection[str]) -> None:
    """Make sure that everything below a folder was written by its writer, so that it may be replaced.

    Raises:
        OutputError: it holds files that its writer did not write, or is a file itself.
    """
    if path.is_file():
        raise OutputError(f"{path} is a file, where a folder is to be written: move or delete it, then run this again")
    if foreign := foreign_files(path, writes):
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise OutputError(
            f"{path} holds {foreign[0]}{more}, which is no output and would be deleted: {path} is replaced as a whole; "
            "move what is yours elsewhere, or delete it, and run the same command again"
        )


def foreign_files(path: Path, writes: Collection[str]) -> list[str]:
    """Files below `path`, sorted, that fit none of the patterns and that no `record.json` there names.

    Args:
        path: the folder, or a link to it; a missing one holds nothing.
        writes: patterns of relative paths, one part for each folder: `images/*.png`.
    """
    record = path / "record.json"
    named = record.read_text(encoding="utf-8", errors="replace") if record.is_file() else ""
    written = re.compile("|".join(map(_expression, writes)) or "(?!)")
    return sorted(
        "/".join(parts)
        for parts in _files(path)
        if not written.fullmatch("/".join(parts)) and parts[-1] not in JUNK and f'"{parts[-1]}"' not in named
    )


def _expression(pattern: str) -> str:
    """A pattern of `foreign_files` as a regular expression: `*` and `?` stop at a slash, `[...]` is one character."""
    signs = {"*": "[^/]*", "?": "[^/]"}
    return "".join(
        part if part.startswith("[") else signs.get(part, re.escape(part))
        for part in re.split(r"(\[[^]]+\]|[*?])", pattern)
    )


def _files(path: Path) -> Iterator[tuple[str, ...]]:
    """Each file or link below `path` as the parts of its relative path; links below it are not followed."""
    for place, folders, names in os.walk(path):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        above = Path(place).relative_to(path).parts
        if not above:
            folders[:] = [name for name in folders if name not in folder_swap.INSIDE]
        yield from ((*above, name) for name in (*names, *links))


def remove_debris(folder: Path) -> None:
    """Delete what kills left of files that were being written; a file of the last hour may be another process'."""
    for place, _, names in os.walk(folder):
        for name in names:
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            file = Path(place) / name
            with suppress(FileNotFoundError):  # it is whole by now
                if file.stat().st_mtime < time.time() - DEBRIS_AGE:
                    file.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source`: a hard link where the file system allows, else a copy.

    Raises:
        FullDiskError: the disk is full.
    """
    with full_disk_named(target.parent, source.stat().st_size if source.is_file() else 0):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def link_all(folder: Path, sources: Mapping[str, Path]) -> None:
    """`link_or_copy` of many files into a new folder.

    Args:
        folder: it holds none of them yet.
        sources: by path below `folder`, with slashes.

    Raises:
        FullDiskError: the disk is full.
    """
    base, parents = str(folder), set[str]()
    for name, source in sources.items():
        parent = name.rpartition("/")[0]
        if parent not in parents:
            with full_disk_named(folder, 0):
                (folder / parent).mkdir(parents=True, exist_ok=True)
            parents.add(parent)
        try:
            os.link(source, f"{base}/{name}")  # of 20,000 files a third of the time that paths as objects take
        except OSError:
            link_or_copy(source, folder / name)

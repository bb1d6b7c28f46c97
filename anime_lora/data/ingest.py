"""Ingest: every file of every source is taken into a content-addressed store or rejected with a reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.config.data import Ingest
from anime_lora.config.section import Compute
from anime_lora.data.captions import captions, is_sidecar, stem
from anime_lora.data.memo import Memo
from anime_lora.data.sources import Entry, entries
from anime_lora.errors import BadImageError, SourceError
from anime_lora.executors import ordered
from anime_lora.files import fresh_folder, link_or_copy, write_bytes, write_jsonl
from anime_lora.images import FORMATS, decode
from anime_lora.progress import track

Row = dict[str, Any]
CACHE = paths.CACHE / "ingest"


@dataclass(frozen=True)
class Job:
    """One file to open, in a worker: a local path, or the bytes of an archive's member or a remote file."""

    content: bytes | Path
    max_pixels: int
    store: Path


def ingest(section: Ingest, compute: Compute, out: Path = paths.INGEST, cache: Path = CACHE) -> None:
    """Read every source; write `manifest.jsonl` (one row per file seen) and `store/`.

    Raises:
        SourceError: a source cannot be read, or no image is left.
    """
    found = [
        entry for source in section.sources for entry in entries(source, section.max_files, section.max_archive_ratio)
    ]
    words = {source: captions([entry for entry in found if entry.source == source]) for source in section.sources}
    images = [entry for entry in found if not is_sidecar(entry.path)]
    memo = Memo(cache / "memo.jsonl")
    facts = _facts(images, section, compute, memo, cache / "store")
    rows = _rows(images, facts, words)
    taken = [row for row in rows if row["status"] == "taken"]
    if not taken:
        reasons = sorted({str(row["reason"]) for row in rows})
        why = (
            f"{len(rows)} files were rejected: {'; '.join(reasons[:3])}"
            if rows
            else "there is no file that could be an image"
        )
        raise SourceError(
            f"no image in {', '.join(section.sources)}: {why}. Point ingest.sources in params.yaml at your images"
        )
    with fresh_folder(out, paths.WRITES[paths.INGEST]) as beside:
        for row in taken:
            link_or_copy(cache / row["store"], beside / row["store"])
        write_jsonl(beside / paths.MANIFEST, rows)
    memo.save()
    print(f"ingest: {len(rows)} files, {len(taken)} taken, {len(rows) - len(taken)} rejected, {memo.fresh} made anew")


def _facts(images: list[Entry], section: Ingest, compute: Compute, memo: Memo, store: Path) -> list[Row]:
    """What each file is, {"id", "format", "width", "height", "store"} or {"reason"}; known files are not opened."""
    known = [_known(entry, section, memo, store) for entry in images]
    new = [entry for entry, facts in zip(images, known, strict=True) if facts is None]
    opened = ordered(_open, _jobs(new, section, store), compute.workers, compute.dask_address)
    fresh = iter(list(track(opened, "ingest", "ingest", len(new), "file")))
    result = []
    for entry, facts in zip(images, known, strict=True):
        result.append(facts if facts is not None else next(fresh))
        if facts is None:
            memo.put(_key(entry, section) or f"{entry.source}!{entry.path}", result[-1])
    return result


def _known(entry: Entry, section: Ingest, memo: Memo, store: Path) -> Row | None:
    if entry.problem:
        return {"reason": entry.problem}
    if entry.size > section.max_file_mb * 2**20:
        return {"reason": f"{entry.size / 2**20:.1f} MiB, more than ingest.max_file_mb = {section.max_file_mb:g}"}
    key = _key(entry, section)
    facts: Row | None = memo.get(key) if key else None
    return facts if facts and ("reason" in facts or (store.parent / facts["store"]).is_file()) else None


def _key(entry: Entry, section: Ingest) -> str | None:
    """Identity of an unchanged local file; None for archives and remote files, which are read again."""
    if entry.local is None:
        return None
    return f"{entry.local.resolve()}|{entry.size}|{entry.local.stat().st_mtime_ns}|{section.max_pixels}"


def _jobs(new: list[Entry], section: Ingest, store: Path) -> Iterator[Job]:
    for entry in new:
        yield Job(entry.local.absolute() if entry.local else _content(entry), section.max_pixels, store.absolute())


def _content(entry: Entry) -> bytes:
    try:
        return entry.read()
    except Exception:  # a damaged member: the empty bytes are rejected as no image
        return b""


def _open(job: Job) -> Row:
    """Decode one file and put its bytes into the store."""
    try:
        content = job.content if isinstance(job.content, bytes) else job.content.read_bytes()
        image = decode(content, job.max_pixels)
    except BadImageError as error:
        return {"reason": str(error)}
    except OSError as error:
        return {"reason": f"cannot be read: {error.strerror}"}
    digest, kind = sha256(content).hexdigest(), str(image.format)
    name = f"store/{digest[:2]}/{digest}{FORMATS[kind]}"
    path = job.store.parent / name
    if not path.exists():
        write_bytes(path, content)
    return {"id": digest, "format": kind, "width": image.width, "height": image.height, "store": name}


def _rows(images: list[Entry], facts: list[Row], words: dict[str, dict[str, tuple[str, str]]]) -> list[Row]:
    first: dict[str, str] = {}
    rows = []
    for entry, known in zip(images, facts, strict=True):
        reason = known.get("reason")
        if not reason and known["id"] in first:
            reason = f"duplicate of {first[known['id']]}"
        if not reason:
            first[known["id"]] = entry.path
        caption, origin = words[entry.source].get(stem(entry.path), (None, None))
        kept = {key: known.get(key) for key in ("id", "format", "width", "height")}
        rows.append(
            {
                "source": entry.source,
                "path": entry.path,
                "bytes": entry.size,
                "status": "rejected" if reason else "taken",
                "reason": reason,
                **kept,
                "store": None if reason else known["store"],
                "caption": caption,
                "caption_from": origin,
            }
        )
    return sorted(rows, key=lambda row: (row["source"], row["path"]))

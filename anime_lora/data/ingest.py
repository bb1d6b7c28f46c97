"""Ingest: every file of every source is taken into a content-addressed store or rejected with a reason."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.data import Ingest
from anime_lora.config.section import Compute
from anime_lora.data.accounts import Accounts, account
from anime_lora.data.captions.matching import Captions
from anime_lora.data.manifest import IngestedFile, IngestSummary, Sidecar, Unusable, is_passing, killed
from anime_lora.data.memo import Memo
from anime_lora.data.sources.listing import in_reading_order, list_all
from anime_lora.data.sources.redaction import redact
from anime_lora.data.sources.source_file import SourceFile, printable
from anime_lora.errors import BadImageError, SourceError
from anime_lora.executors import map_unordered
from anime_lora.files import (
    fresh_folder,
    link_all,
    remove_debris,
    stamp,
    write_bytes,
    write_json,
    write_jsonl,
)
from anime_lora.image_formats import FORMATS
from anime_lora.images import BYTES_PER_PIXEL, decode, image_errors
from anime_lora.progress import track

CACHE = paths.CACHE / "ingest"


@dataclass(frozen=True)
class StoredImage:
    """An image in the store; width and height in pixels as stored."""

    id: str
    """Hex sha256 of its bytes."""
    format: str
    width: int
    height: int
    store: str
    """Its file, relative to the stage's folder and to the cache's."""
    stamp: str = ""
    """`files.stamp` of that file in the cache."""


@dataclass(frozen=True)
class Job:
    """One file to open, in a worker: a local path, or of an archive or remote the bytes, or why there are none."""

    content: bytes | Path | Unusable
    max_pixels: int
    store: Path


Opened = StoredImage | Unusable


def ingest(section: Ingest, compute: Compute, out: Path = paths.INGEST, cache: Path = CACHE) -> None:
    """Read every source; write `manifest.jsonl`, `sidecars.jsonl`, `summary.json` and `store/`.

    Every file seen is in one list: those that could be images in the manifest, captions, notes and what is ignored in
    the other. The summary counts both.

    Raises:
        SourceError: a source cannot be listed, or no image is left.
    """
    listed = list_all(section)
    accounts = account(listed, section.caption_lines)
    images = accounts.images
    memo: Memo[Opened] = Memo(cache / "memo.jsonl", StoredImage | Unusable)  # type: ignore[arg-type]
    remove_debris(cache / "store")
    order = in_reading_order(images)
    opened = open_all([images[number] for number in order], section, compute, memo, cache / "store")
    by_number = dict(zip(order, opened, strict=True))
    rows = manifest_rows(images, [by_number[number] for number in range(len(images))], accounts.captions)
    stored = [row.store for row in rows if row.store]
    if not stored:
        sources = ", ".join(redact(source) for source in section.sources)
        raise SourceError(
            f"no image in {sources}: {_why_none(rows)}. Point ingest.sources in params.yaml at your images"
        )
    summary = accounts.summarize(rows)
    with fresh_folder(out, paths.WRITES[paths.INGEST]) as beside:
        link_all(beside, {file: cache / file for file in stored})
        write_jsonl(beside / IngestedFile.FILE, map(_row, rows))
        write_jsonl(beside / Sidecar.FILE, accounts.sidecars)
        write_json(beside / IngestSummary.FILE, vars(summary))
    memo.save()
    print_summary(accounts, summary)
    print(f"ingest: {len(rows)} files, {len(stored)} taken, {len(rows) - len(stored)} rejected, {memo.fresh} made anew")


def print_summary(accounts: Accounts, summary: IngestSummary) -> None:
    """Print what was passed over, a line for each kind; the lists are in the files."""
    for one in accounts.sidecars:
        if one.status == "unreadable":
            print(f"ingest: captions passed over: {one.path} in {one.source}: {one.reason}")
    ignored, orphans = (summary.sidecars.get(name, 0) for name in ("ignored ignored", "caption orphan"))
    for count, what, file in (
        (ignored, "files ignored by their names (.DS_Store, __MACOSX, *.npz, masks, ...)", Sidecar.FILE),
        (orphans, "caption files that belong to no image", Sidecar.FILE),
        (summary.orphan_rows, "rows of tables that name no image", Sidecar.FILE),
        (len(summary.without_caption), "images without a caption, where others have one", IngestSummary.FILE),
    ):
        if count:
            print(f"ingest: {count} {what}: data/ingest/{file}")


def _row(file: IngestedFile) -> dict[str, object]:
    """A row as it is written: a file that was taken has no code."""
    return {key: value for key, value in vars(file).items() if key != "code" or value}


def _why_none(rows: list[IngestedFile]) -> str:
    reasons = sorted({str(row.reason) for row in rows})
    rejected = f"{len(rows)} files were rejected: {'; '.join(reasons[:3])}"
    return rejected if rows else "there is no file that could be an image"


def open_all(
    images: list[SourceFile], section: Ingest, compute: Compute, memo: Memo[Opened], store: Path
) -> list[Opened]:
    """What became of each file; only those that `memo` does not know are opened."""
    keys = memo_keys(images, section)
    known = [_rejected(file, section) or _remembered(key, memo, store) for file, key in zip(images, keys, strict=True)]
    new = [file for file, result in zip(images, known, strict=True) if result is None]
    new_keys = [key for key, result in zip(keys, known, strict=True) if result is None]
    results = map_unordered(
        open_image, _jobs(new, section, store), compute.workers, compute.dask_address, on_death=killed,
        item_memory=section.max_pixels * BYTES_PER_PIXEL,
    )  # fmt: skip
    fresh: dict[int, Opened] = {}
    for place, result in track(results, "ingest", "ingest", len(new), "file"):
        fresh[place] = result
        memo.put(None if is_passing(result) else new_keys[place], result)
    in_order = iter(fresh[place] for place in range(len(new)))
    return [remembered or next(in_order) for remembered in known]


def _rejected(file: SourceFile, section: Ingest) -> Unusable | None:
    """What its source says of a file is enough to reject it; None where it has to be opened."""
    if file.problem:
        return Unusable(file.problem.code, file.problem.reason)
    if file.size > section.max_file_mb * 2**20:
        reason = f"{file.size / 2**20:.1f} MiB, more than ingest.max_file_mb = {section.max_file_mb:g}"
        return Unusable("too_large", reason)
    return None


def _remembered(key: str | None, memo: Memo[Opened], store: Path) -> Opened | None:
    """What became of a file before; None where it has to be opened, since its image in the store is lost or damaged."""
    result = memo.get(key) if key else None
    if not key or not isinstance(result, StoredImage):
        return result
    return memo.intact(key, result, store.parent / result.store, result.id)


def memo_keys(images: list[SourceFile], section: Ingest) -> list[str | None]:
    """What identifies each file while it is unchanged; None where its source does not tell, so that it is read again.

    That is a remote file without a version, and a member of an archive that holds another of the same name.
    """
    settings = f"{section.max_pixels}|{'+'.join(FORMATS)}"
    counts = Counter((file.source, file.path) for file in images)
    keys: list[str | None] = []
    for file in images:
        known = file.version is not None and counts[file.source, file.path] == 1
        place = file.local.absolute() if file.local else f"{redact(file.source)}!{file.path}"
        keys.append(f"{printable(str(place))}|{file.size}|{file.version}|{settings}" if known else None)
    return keys


def _jobs(new: list[SourceFile], section: Ingest, store: Path) -> Iterator[Job]:
    """One at a time: members of archives are in memory only while a worker has them."""
    for file in new:
        yield Job(file.local.absolute() if file.local else _content(file), section.max_pixels, store.absolute())


def _content(file: SourceFile) -> bytes | Unusable:
    try:
        return file.read()
    except MemoryError:
        return Unusable("memory", "there is not enough memory to read it")
    except BadImageError as error:
        return Unusable(error.code, " ".join(str(error).split()))
    except Exception as error:  # remote file systems have errors of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        return Unusable("unreadable", redact(f"cannot be read: {reason}"))


def open_image(job: Job) -> Opened:
    """Decode one file and put its bytes into the store."""
    if isinstance(job.content, Unusable):
        return job.content
    try:
        with image_errors():
            content = job.content if isinstance(job.content, bytes) else job.content.read_bytes()
            image = decode(content, job.max_pixels)
    except BadImageError as error:
        return Unusable(error.code, str(error))
    digest, kind = sha256(content).hexdigest(), str(image.format)
    name = f"store/{digest[:2]}/{digest}{FORMATS[kind]}"
    path = job.store.parent / name
    if not path.exists() or path.read_bytes() != content:
        write_bytes(path, content, sync=False)
    return StoredImage(digest, kind, image.width, image.height, name, stamp(path) or "")


def manifest_rows(images: list[SourceFile], opened: list[Opened], captions: dict[str, Captions]) -> list[IngestedFile]:
    """The manifest's rows, sorted; of files with the same bytes the first is taken."""
    first: dict[str, str] = {}
    rows = []
    for file, result in zip(images, opened, strict=True):
        image = result if isinstance(result, StoredImage) else None
        reason = result.reason if isinstance(result, Unusable) else None
        code = result.code if isinstance(result, Unusable) else None
        if image and image.id in first:
            reason, code = f"duplicate of {first[image.id]}", "duplicate"
        elif image:
            first[image.id] = file.path
        caption = captions[file.source].by_image.get(file.path)
        rows.append(
            IngestedFile(
                source=file.source,
                path=file.path,
                bytes=file.size,
                status="rejected" if reason else "taken",
                reason=reason,
                id=image.id if image else None,
                format=image.format if image else None,
                width=image.width if image else None,
                height=image.height if image else None,
                store=image.store if image and not reason else None,
                caption=caption.text if caption else None,
                caption_from=caption.file if caption else None,
                code=code,
            )
        )
    return sorted(rows, key=lambda row: (row.source, row.path))

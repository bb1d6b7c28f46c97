"""Resize: validated images become RGB squares; what was made before with the same settings is linked, not redone."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageOps

from anime_lora.config import paths
from anime_lora.config.data import Resize
from anime_lora.config.section import Compute
from anime_lora.data.memo import Memo
from anime_lora.data.validate import read_manifest
from anime_lora.errors import BadImageError, DatasetError
from anime_lora.executors import ordered
from anime_lora.files import fresh_folder, link_or_copy, write_bytes, write_jsonl
from anime_lora.images import crop_square, png_bytes, read_rgb
from anime_lora.progress import track

CACHE = paths.CACHE / "resize"
FACE_HEIGHT = 0.35
"""Where `focus: face` puts the middle of a tall image's crop: portraits have the face in the upper part."""


@dataclass(frozen=True)
class Job:
    """One image to square, in a worker."""

    source: Path
    target: Path
    size: int
    fit: str
    focus: str
    background: tuple[int, int, int]


def resize(
    section: Resize,
    compute: Compute,
    source: Path = paths.VALIDATE,
    *,
    store: Path = paths.INGEST,
    out: Path = paths.RESIZE,
    cache: Path = CACHE,
) -> None:
    """Write `images/<id>.png`, RGB of `size` × `size` pixels, and `manifest.jsonl`.

    Raises:
        DatasetError: validate's manifest or a stored image is missing or damaged.
    """
    rows = read_manifest(source, "validate")
    place = cache / sha256(section.model_dump_json().encode()).hexdigest()[:16]
    memo = Memo(place / "memo.jsonl")
    jobs = {row["id"]: _job(section, store / row["store"], place / f"{row['id']}.png") for row in rows}
    new = [key for key, job in jobs.items() if memo.get(key) is None or not job.target.is_file()]
    made = ordered(square, (jobs[key] for key in new), compute.workers, compute.dask_address)
    for key, pixels in zip(new, track(made, "resize", "resize", len(new), "image"), strict=True):
        memo.put(key, pixels)
    with fresh_folder(out, paths.WRITES[paths.RESIZE]) as beside:
        for row in rows:
            link_or_copy(jobs[row["id"]].target, beside / "images" / f"{row['id']}.png")
        kept = ("id", "caption", "cluster", "path")
        write_jsonl(
            beside / paths.MANIFEST,
            (
                {
                    **{key: row[key] for key in kept},
                    "file": f"images/{row['id']}.png",
                    "pixel_sha256": memo.get(row["id"]),
                    "source_width": row["width"],
                    "source_height": row["height"],
                }
                for row in rows
            ),
        )
    memo.save()
    print(f"resize: {len(rows)} images, {len(new)} made anew, {len(rows) - len(new)} reused")


def _job(section: Resize, source: Path, target: Path) -> Job:
    return Job(source.absolute(), target.absolute(), section.size, section.fit, section.focus, section.background)


def square(job: Job) -> str:
    """Make one square; returns the sha256 of its raw RGB bytes.

    Raises:
        DatasetError: the stored image is missing or damaged.
    """
    try:
        image = read_rgb(job.source, job.background)
    except BadImageError as error:
        raise DatasetError(f"{error}; run `python -m anime_lora ingest` again") from None
    if job.fit == "pad":
        result = ImageOps.pad(image, (job.size, job.size), Image.Resampling.LANCZOS, color=job.background)
    else:
        result = crop_square(image, job.size, FACE_HEIGHT if job.focus == "face" else 0.5)
    write_bytes(job.target, png_bytes(result, compress_level=4))
    return sha256(result.tobytes()).hexdigest()

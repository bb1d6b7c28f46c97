"""Resize: validated images become RGB squares; what was made before with the same settings is linked, not redone."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageOps

from anime_lora.config import paths
from anime_lora.config.data import Resize
from anime_lora.config.section import Compute
from anime_lora.data.manifest import SquareImage, ValidImage, read_manifest
from anime_lora.data.memo import Memo
from anime_lora.errors import BadImageError, DatasetError
from anime_lora.executors import map_ordered
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
    images = read_manifest(source, ValidImage)
    folder = cache / sha256(section.model_dump_json().encode()).hexdigest()[:16]
    pixel_hashes = Memo(folder / "memo.jsonl", str)
    jobs = {image.id: _job(section, store / image.store, folder / f"{image.id}.png") for image in images}
    new = [key for key, job in jobs.items() if pixel_hashes.get(key) is None or not job.target.is_file()]
    made = map_ordered(make_square, (jobs[key] for key in new), compute.workers, compute.dask_address)
    for key, pixel_hash in zip(new, track(made, "resize", "resize", len(new), "image"), strict=True):
        pixel_hashes.put(key, pixel_hash)
    squares = [
        SquareImage(
            id=image.id, caption=image.caption, cluster=image.cluster, path=image.path, file=f"images/{image.id}.png",
            pixel_sha256=pixel_hashes[image.id], source_width=image.width, source_height=image.height,
        )
        for image in images
    ]  # fmt: skip
    with fresh_folder(out, paths.WRITES[paths.RESIZE]) as beside:
        for square in squares:
            link_or_copy(jobs[square.id].target, beside / square.file)
        write_jsonl(beside / SquareImage.FILE, squares)
    pixel_hashes.save()
    print(f"resize: {len(images)} images, {len(new)} made anew, {len(images) - len(new)} reused")


def _job(section: Resize, source: Path, target: Path) -> Job:
    return Job(source.absolute(), target.absolute(), section.size, section.fit, section.focus, section.background)


def make_square(job: Job) -> str:
    """Write one square; returns the sha256 of its raw RGB bytes.

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

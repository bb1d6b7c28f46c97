"""Resize: validated images become RGB squares; what was made before with the same settings is linked, not redone."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageOps

from anime_lora.config import paths
from anime_lora.config.data import Resize
from anime_lora.config.section import Compute
from anime_lora.data.faces import Face, detector, find_face
from anime_lora.data.manifest import (
    QuarantinedFile,
    SquareImage,
    Unusable,
    ValidImage,
    check_stored,
    is_passing,
    killed,
    read_manifest,
)
from anime_lora.data.memo import Memo
from anime_lora.errors import BadImageError, DatasetError
from anime_lora.executors import map_unordered
from anime_lora.files import fresh_folder, link_all, remove_debris, stamp, write_bytes, write_jsonl
from anime_lora.images import ANY_SIZE, BYTES_PER_PIXEL, crop_square, decode, image_errors, png_bytes, to_rgb
from anime_lora.progress import track

CACHE = paths.CACHE / "resize"
COLOURS = "3"
"""Counted up when an image's square can get other pixels: 3 since 16-bit and grey images with a profile have others."""
LEVEL, STRATEGY = 4, 3
"""zlib's, of the PNG; 3 is Z_RLE: 10 ms for an anime face of 512 pixels and 16 ms for a smooth one, where the
default strategy took 17 and 46 for as many bytes."""
FACE_HEIGHT = 0.35
"""Where `focus: face` puts the crop of a tall image in which no face is known: portraits have it in the upper part."""


@dataclass(frozen=True)
class Square:
    """A square in the cache."""

    pixel_sha256: str
    """Hex sha256 of its raw RGB bytes."""
    file_sha256: str
    """Hex sha256 of the PNG's bytes."""
    stamp: str
    """`files.stamp` of the PNG."""


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

    Images that cannot be made a square are listed in `quarantine.jsonl`, which is written only where there are any.

    Raises:
        DatasetError: validate's manifest or a stored image is missing, or no square could be made.
    """
    images = read_manifest(source, ValidImage)
    folder = cache / settings_key(section)
    memo: Memo[Square | Unusable] = Memo(folder / "memo.jsonl", Square | Unusable)  # type: ignore[arg-type]
    remove_debris(folder)
    targets = {image.id: folder / f"{image.id}.png" for image in images}
    results = {key: known for key, file in targets.items() if (known := _remembered(memo, key, file)) is not None}
    new = [image for image in images if image.id not in results]
    jobs = (_job(section, store / image.store, targets[image.id]) for image in new)
    memory = BYTES_PER_PIXEL * max((image.width * image.height for image in new), default=0)
    made = map_unordered(make_square, jobs, compute.workers, compute.dask_address, on_death=killed, item_memory=memory)
    for place, result in track(made, "resize", "resize", len(new), "image"):
        key = new[place].id
        results[key] = result
        memo.put(None if is_passing(result) else key, result)
    squares, unusable = [], []
    for image in images:
        result = results[image.id]
        if isinstance(result, Unusable):
            unusable.append(QuarantinedFile(image.id, image.source, image.path, result.code, None, None, result.reason))
        else:
            squares.append(
                SquareImage(
                    id=image.id, caption=image.caption, cluster=image.cluster, path=image.path,
                    file=f"images/{image.id}.png", pixel_sha256=result.pixel_sha256,
                    file_sha256=result.file_sha256, source_width=image.width, source_height=image.height,
                )
            )  # fmt: skip
    if unusable and not squares:
        raise DatasetError(f"no square could be made of {len(unusable)} images; the first: {unusable[0].reason}")
    with fresh_folder(out, paths.WRITES[paths.RESIZE]) as beside:
        link_all(beside, {square.file: targets[square.id] for square in squares})
        write_jsonl(beside / SquareImage.FILE, squares)
        if unusable:
            write_jsonl(beside / QuarantinedFile.FILE, unusable)
    memo.save()
    aside = f", {len(unusable)} set aside" if unusable else ""
    print(f"resize: {len(images)} images, {len(new)} made anew, {len(images) - len(new)} reused{aside}")


def settings_key(section: Resize) -> str:
    """The name of the cache for these settings; squares that a detector placed are others than those it did not."""
    by = detector() if (section.fit, section.focus) == ("crop", "face") else ""
    if by is None:
        print(
            "resize: no face detector is installed (pip install 'anime-lora[faces]'): of tall images the upper part is "
            "kept, of wide ones the middle"
        )
    return sha256(f"{COLOURS} {LEVEL} {STRATEGY} {section.model_dump_json()}{by or ''}".encode()).hexdigest()[:16]


def _remembered(memo: Memo[Square | Unusable], key: str, target: Path) -> Square | Unusable | None:
    """What became of an image before; None where it has to be made, since its file is lost or damaged."""
    known = memo.get(key)
    if not isinstance(known, Square):
        return known
    return memo.intact(key, known, target, known.file_sha256)


def _job(section: Resize, source: Path, target: Path) -> Job:
    return Job(source.absolute(), target.absolute(), section.size, section.fit, section.focus, section.background)


def make_square(job: Job) -> Square | Unusable:
    """Write one square; returns its hashes, or why there is none.

    Raises:
        DatasetError: the stored image is missing, or was changed after ingest.
    """
    try:
        with image_errors():
            content = job.source.read_bytes()
        check_stored(job.source, content)
        with image_errors():
            square = _square(to_rgb(decode(content, ANY_SIZE), job.background), job)
            png = png_bytes(square, compress_level=LEVEL, compress_type=STRATEGY)
            digest = sha256(square.tobytes()).hexdigest()
    except BadImageError as error:
        if error.code == "unreadable":
            raise DatasetError(f"{job.source} {error}; run `python -m anime_lora ingest` again") from None
        return Unusable(error.code, str(error))
    write_bytes(job.target, png, sync=False)
    return Square(digest, sha256(png).hexdigest(), stamp(job.target) or "")


def _square(image: Image.Image, job: Job) -> Image.Image:
    if job.fit == "pad":
        return ImageOps.pad(image, (job.size, job.size), Image.Resampling.LANCZOS, color=job.background)
    if job.focus == "center":
        return crop_square(image, job.size)
    across, down = placed(image, find_face(image) if detector() and image.width != image.height else None)
    return crop_square(image, job.size, down, across)


def placed(image: Image.Image, face: Face | None) -> tuple[float, float]:
    """Where the square of `focus: face` lies, across and down: 0 at the one edge, 1 at the other."""
    if face is None:
        return 0.5, FACE_HEIGHT
    side = min(image.size)
    across, down = (
        min(max((centre * length - side / 2) / (length - side), 0.0), 1.0) if length > side else 0.5
        for centre, length in zip(face.centre, image.size, strict=True)
    )
    return across, down

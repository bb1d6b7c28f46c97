"""Image-to-image sources: which files there are, how files generated from them are named, how a pipeline sees them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from anime_lora.errors import BadImageError, SamplingError
from anime_lora.files import read_jsonl, read_rows, write_jsonl
from anime_lora.image_formats import SUFFIXES
from anime_lora.images import crop_square, read_rgb

NO_STYLE = "none"
"""Stands for the style in the name of an image without one, so that no style may be called so."""
HASHED = re.compile(r"(^|-)[0-9a-f]{8}$")
"""How a file stem that holds a hash ends."""
MAX_STEM = 40
"""So many letters of a source's or style's own name stand in a file name."""


@dataclass(frozen=True)
class SourceImage:
    """A row of sources.jsonl: a source as the pipeline saw it; `file` is relative to validate-sample's folder."""

    source: str
    """File name in `validate_sample.sources`."""
    file: str
    labels: dict[str, Any]
    """What metadata.jsonl beside the source says of it; empty where it says nothing."""

    @property
    def counterpart(self) -> str:
        """Where the true counterpart lies, relative to the same folder, if there is one."""
        return f"counterparts/{Path(self.file).name}"


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, by name; hidden files such as `._x.png` do not count."""
    return sorted(file for file in folder.glob("[!.]*") if file.suffix.lower() in SUFFIXES and file.is_file())


def list_sources(folder: str | None) -> list[Path]:
    """The images of `validate_sample.sources`, by name; none where it is null.

    Raises:
        SamplingError: the folder does not exist or holds no image.
    """
    if folder is None:
        return []
    files = list_images(Path(folder))
    if not files:
        raise SamplingError(
            f"validate_sample.sources = {folder}: no image ({', '.join(sorted(SUFFIXES))}) there; "
            "name a folder with images, or data/none to leave img2img out"
        )
    return files


def file_stem(name: str) -> str:
    """What a source, or a style with `.png` behind it, is called in file names: unique, also where case is ignored.

    A plain name (small Latin letters, digits, hyphens, single spaces, then .png) stays, with `_` for a space. Any
    other name keeps the letters that fit, followed by a hash of the whole name: `x.jpg` becomes `x-8f3c0b84`.
    `sources.jsonl` says which file came from which source.
    """
    plain = re.fullmatch(r"([a-z0-9-]+(?: [a-z0-9-]+)*)\.png", name)
    if plain and plain[1] != NO_STYLE and not HASHED.search(plain[1]):
        return plain[1].replace(" ", "_")
    letters = re.sub(r"[^a-z0-9]+", "_", Path(name).stem.lower())[:MAX_STEM].strip("_")
    return f"{letters}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}".lstrip("-")


def counterpart_of(source: str, sources: Sequence[Path], counterparts: Sequence[Path]) -> Path | None:
    """The true counterpart of a source: the file of the same name, else the only one of the same stem.

    Where two sources share a stem, only the same name counts: a stem would give both of them one counterpart.
    """
    same_name = [file for file in counterparts if file.name == source]
    stem = Path(source).stem
    same_stem = [file for file in counterparts if file.stem == stem]
    unique = len(same_stem) == 1 and sum(file.stem == stem for file in sources) == 1
    return same_name[0] if same_name else same_stem[0] if unique else None


def read_source(file: Path, size: int) -> Image.Image:
    """An image as the pipeline sees it: RGB, centre square, `size` pixels.

    Raises:
        SamplingError: the file cannot be read.
    """
    return crop_square(_open(file), size)


def _open(file: Path) -> Image.Image:
    try:
        return read_rgb(file)
    except BadImageError as error:
        raise SamplingError(f"source {error}; repair or remove it") from error


def check_sources(sources: str | None, counterparts: str | None) -> None:
    """Make sure that every source and counterpart can be read, before anything is generated.

    Raises:
        SamplingError: one cannot; names it.
    """
    for file in (*list_sources(sources), *(list_images(Path(counterparts)) if counterparts else [])):
        _open(file)


def place_sources(folder: Path, sources: str | None, counterparts: str | None, size: int) -> list[SourceImage]:
    """Write sources/, counterparts/ and sources.jsonl into `folder`: images as the pipeline saw them, with labels."""
    files = list_sources(sources)
    candidates = list_images(Path(counterparts)) if counterparts else []
    metadata = Path(sources or "") / "metadata.jsonl"
    labels = {row["file_name"]: row for row in read_jsonl(metadata)} if sources and metadata.is_file() else {}
    placed = []
    for file in files:
        image = SourceImage(file.name, f"sources/{file_stem(file.name)}.png", labels.get(file.name, {}))
        (folder / "sources").mkdir(exist_ok=True)
        read_source(file, size).save(folder / image.file)
        if counterpart := counterpart_of(file.name, files, candidates):
            (folder / "counterparts").mkdir(exist_ok=True)
            read_source(counterpart, size).save(folder / image.counterpart)
        placed.append(image)
    write_jsonl(folder / "sources.jsonl", map(asdict, placed))
    return placed


def read_sources(folder: Path) -> list[SourceImage]:
    """The rows of sources.jsonl, none where validate-sample wrote no file.

    Raises:
        SamplingError: the file is damaged.
    """
    file = folder / "sources.jsonl"
    try:
        return read_rows(file, SourceImage) if file.is_file() else []
    except (OSError, ValueError) as error:
        raise SamplingError(f"{file} cannot be read: run `dvc repro validate-sample` first") from error

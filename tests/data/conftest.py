"""Small sources of real images: textured, sharp, each unlike the others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_lora.config.data import Ingest, Organize, Resize, Validate
from anime_lora.config.load import load_params
from anime_lora.config.section import Compute, Concept

ROOT = Path(__file__).parents[2]


def image(seed: int, side: int = 160, mode: str = "RGB") -> Image.Image:
    """Coloured blocks from a seed: sharp edges, and no two seeds alike."""
    rng = np.random.default_rng(seed)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    blocks = rng.integers(0, 256, (8, 8, channels), dtype=np.uint8)
    large = np.kron(blocks, np.ones((side // 8, side // 8, 1), np.uint8))
    return Image.fromarray(large.squeeze(), mode)


class Project:
    """A folder with a source and the stages' outputs; every data stage as a method that takes changed settings."""

    def __init__(self, root: Path) -> None:
        params = load_params(ROOT / "params.yaml")
        self.root, self.source = root, root / "source"
        self.source.mkdir()
        self.compute = Compute.model_validate(params.compute.model_dump() | {"workers": 1})
        self.concept: Concept = params.concept
        self._ingest, self._validate, self._resize, self._organize = (
            params.ingest.model_copy(update={"sources": ("source",)}),
            params.validate_.model_copy(update={"min_images": 2}),
            params.resize.model_copy(update={"size": 64}),
            params.organize.model_copy(update={"holdout_share": 0.0}),
        )

    def add(self, count: int, first: int = 0) -> None:
        """Write `count` images with captions into the source."""
        for seed in range(first, first + count):
            image(seed).save(self.source / f"{seed:03d}.png")
            (self.source / f"{seed:03d}.txt").write_text(f"girl, number {seed}\n")

    def ingest(self, **changes: object) -> None:
        """Ingest with `changes` to the section."""
        from anime_lora.data.ingest import ingest

        ingest(Ingest.model_validate(self._ingest.model_dump() | changes), self.compute)

    def validate(self, **changes: object) -> None:
        """Validate with `changes`."""
        from anime_lora.data.validate import validate

        validate(Validate.model_validate(self._validate.model_dump() | changes), self.compute)

    def resize(self, **changes: object) -> None:
        """Resize with `changes`."""
        from anime_lora.data.resize import resize

        resize(Resize.model_validate(self._resize.model_dump() | changes), self.compute)

    def organize(self, **changes: object) -> None:
        """Organize with `changes`."""
        from anime_lora.data.organize import organize

        organize(Organize.model_validate(self._organize.model_dump() | changes), self.concept)

    def all(self) -> None:
        """The four data stages."""
        self.ingest()
        self.validate()
        self.resize()
        self.organize()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Bytes of every file below a folder, by relative path."""
    return lambda folder: {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

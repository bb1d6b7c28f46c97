"""Sections of the data stages: ingest, validate, resize, organize."""

from typing import Literal

from pydantic import Field

from anime_lora.config.section import Section


class Ingest(Section):
    """Where images come from and how much of them is let in."""

    sources: tuple[str, ...] = Field(min_length=1)
    max_files: int = Field(ge=1)
    max_file_mb: float = Field(gt=0)
    max_pixels: int = Field(ge=1)
    max_archive_ratio: float = Field(gt=1)
    caption_lines: Literal["joined", "first", "one_per_use"]


class Validate(Section):
    """Which images are good enough, and how many bad ones are too many."""

    min_side: int = Field(ge=1)
    max_aspect: float = Field(ge=1)
    min_contrast: float = Field(ge=0)
    min_sharpness: float = Field(ge=0)
    near_duplicate_bits: int = Field(ge=0, le=32)
    min_images: int = Field(ge=2)
    max_rejected_share: float = Field(ge=0, le=1)
    min_caption_share: float = Field(ge=0, le=1)


class Resize(Section):
    """How an image becomes a square."""

    size: int = Field(ge=64, le=2048, multiple_of=8)
    fit: Literal["crop", "pad"]
    focus: Literal["center", "face"]
    background: tuple[int, int, int]


class Organize(Section):
    """How the dataset folder is laid out, captioned and split."""

    layout: Literal["diffusers", "kohya"]
    repeats: int = Field(ge=1)
    holdout_share: float = Field(ge=0, le=0.5)
    holdout_salt: str

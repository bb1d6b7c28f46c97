"""The recipe file, checked."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AutoencoderRecipe(_Part):
    """Crops of `crop` pixels, `batch` at a time; `noise` on the latents while learning, in deviations of theirs."""

    steps: int
    batch: int
    crop: int
    learning_rate: float
    noise: float


class PairsRecipe(_Part):
    """Images (scorer) or captions (text encoder) per step."""

    steps: int
    batch: int
    learning_rate: float


class DiffusionRecipe(_Part):
    """Latents per step, min-SNR gamma, power of SNR by which strong noise counts more, shares of empty and of
    nonsense-laced captions.
    """

    steps: int
    batch: int
    learning_rate: float
    gamma: float
    noisy: float
    caption_dropout: float
    nonsense: float


class Recipe(_Part):
    """All that decides the pocket models' weights."""

    seed: int
    images: int
    scorer_images: int
    autoencoder: AutoencoderRecipe
    decoder: AutoencoderRecipe
    scorer: PairsRecipe
    text_encoder: PairsRecipe
    diffusion: DiffusionRecipe


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file; pydantic's ValidationError names what does not fit."""
    return Recipe.model_validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))

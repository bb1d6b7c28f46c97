"""The recipe files, checked: `recipe.yaml` for the published base, `gpu.yaml` for `train-gpu`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
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


class ImagesRecipe(_Part):
    """At most `count` images, rendered by `renderers` processes while the models train, with `captions` of each.

    `domains` are shares of the images; `wordless` is, per domain, the share of captions that do not name it. A share
    `false_captions` of the captions has each fact wrong with probability `false_facts`: a model that has learned that
    captions may be wrong leaves guidance something to strengthen. One image in `edges_every` gets an edge map.
    """

    count: int = Field(le=200_000)
    renderers: int
    captions: int
    domains: dict[str, float]
    wordless: dict[str, float]
    false_captions: float
    false_facts: float
    caption_dropout: float
    nonsense: float
    edges_every: int


class PhaseRecipe(_Part):
    """`share` of the minutes; the learning rate rises over `warmup` steps and falls over the last `cooldown` share."""

    share: float
    batch: int
    learning_rate: float
    warmup: int
    cooldown: float
    ema: float


class AutoencoderPhase(PhaseRecipe):
    """`noise` on the latents while learning, in deviations of theirs."""

    noise: float


class BasePhase(PhaseRecipe):
    """The text encoder's own learning rate, min-SNR gamma, and the noise on the normalised latents."""

    text_learning_rate: float
    gamma: float
    latent_noise: float


class GpuRecipe(_Part):
    """All that `train-gpu` is told beside the minutes."""

    seed: int
    log_every: int
    compile: bool
    images: ImagesRecipe
    autoencoder: AutoencoderPhase
    base: BasePhase
    controlnet: PhaseRecipe


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file; pydantic's ValidationError names what does not fit."""
    return Recipe.model_validate(_load(path))


def read_gpu_recipe(path: Path) -> GpuRecipe:
    """Read a recipe file of `train-gpu`; pydantic's ValidationError names what does not fit."""
    return GpuRecipe.model_validate(_load(path))


def _load(path: Path) -> object:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))

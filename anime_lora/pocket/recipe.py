"""The recipe file, checked; and the order in which the models are trained."""

from hashlib import sha256
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML
from transformers import CLIPTokenizer

from anime_lora.pocket import models
from anime_lora.pocket.autoencoder import encode, train_autoencoder
from anime_lora.pocket.corpus import base_corpus, scorer_corpus
from anime_lora.pocket.diffusion import Drawer, train_drawer
from anime_lora.pocket.fit import Plan
from anime_lora.pocket.publish import publish_base, publish_scorer
from anime_lora.pocket.scorer import train_scorer
from anime_lora.pocket.tokenizer import train_tokenizer


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AutoencoderRecipe(_Part):
    """Crops of `crop` pixels, `batch` at a time; `kl` weighs the prior."""

    steps: int
    batch: int
    crop: int
    learning_rate: float
    kl: float


class ScorerRecipe(_Part):
    """Pictures per step."""

    steps: int
    batch: int
    learning_rate: float


class DiffusionRecipe(_Part):
    """Latents per step, min-SNR gamma, share of empty and of nonsense-laced captions."""

    steps: int
    batch: int
    learning_rate: float
    gamma: float
    caption_dropout: float
    nonsense: float


class Recipe(_Part):
    """All that decides the pocket models' weights."""

    seed: int
    pictures: int
    scorer_pictures: int
    autoencoder: AutoencoderRecipe
    scorer: ScorerRecipe
    diffusion: DiffusionRecipe


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file; pydantic's ValidationError names what does not fit."""
    return Recipe.model_validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


class Kitchen:
    """Trains what the recipe asks for; work in progress lies in `work` and is taken up again."""

    def __init__(self, recipe: Recipe, work: Path, out: Path) -> None:
        self.recipe, self.work, self.out = recipe, work, out

    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer both text towers use."""
        folder = self.work / "tokenizer"
        return CLIPTokenizer.from_pretrained(folder) if folder.exists() else train_tokenizer(folder)

    def _plan(self, name: str, steps: int, rate: float) -> Plan:
        """The plan; its state file is named by what decides it, so that another recipe starts anew."""
        part = getattr(self.recipe, name).model_dump_json() + str((self.recipe.pictures, self.recipe.scorer_pictures))
        return Plan(f"{name}-{sha256(part.encode()).hexdigest()[:8]}", steps, rate, self.recipe.seed, self.work)

    def autoencoder(self) -> AutoencoderKL:
        """Train (or take up) the autoencoder."""
        part = self.recipe.autoencoder
        pictures = base_corpus(self.recipe.pictures, models.RESOLUTION).open(self.work)
        plan = self._plan("autoencoder", part.steps, part.learning_rate)
        return train_autoencoder(pictures, plan, part.batch, part.crop, part.kl)

    def base(self) -> None:
        """Train autoencoder, UNet and text tower; publish the folder `pocket`."""
        vae = self.autoencoder()
        corpus = base_corpus(self.recipe.pictures, models.RESOLUTION)
        part = self.recipe.diffusion
        plan = self._plan("diffusion", part.steps, part.learning_rate)
        drawer = train_drawer(self._latents(vae), corpus, self.tokenizer(), plan, part.model_dump())
        publish_base(self.out / "pocket", vae, drawer)

    def _latents(self, vae: AutoencoderKL) -> torch.Tensor:
        digest = sha256()
        for value in vae.state_dict().values():
            digest.update(value.contiguous().numpy().tobytes())
        path = self.work / f"latents-{digest.hexdigest()[:8]}.pt"
        if path.exists():
            return torch.load(path, weights_only=True)
        pictures = base_corpus(self.recipe.pictures, models.RESOLUTION).open(self.work)
        latents = encode(vae, pictures)
        torch.save(latents, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        return latents

    def scorer(self) -> None:
        """Train and publish the scorer, the folder `pocket-clip`."""
        corpus = scorer_corpus(self.recipe.scorer_pictures, models.SCORER_SIDE)
        part = self.recipe.scorer
        plan = self._plan("scorer", part.steps, part.learning_rate)
        tokenizer = self.tokenizer()
        model = train_scorer(corpus.open(self.work), corpus, tokenizer, plan, part.batch)
        publish_scorer(self.out / "pocket-clip", model, tokenizer)

    def snapshot(self) -> None:
        """Publish base and scorer untrained: the layout, for trying things out."""
        publish_base(self.out / "pocket", models.autoencoder(), Drawer(self.tokenizer()))
        publish_scorer(self.out / "pocket-clip", models.scorer(self.tokenizer()), self.tokenizer())

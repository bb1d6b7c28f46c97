"""The order in which the pocket models are trained, and where their state lies."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPTokenizer, PreTrainedModel

from pocket.models import shapes
from pocket.models.publish import publish_base, publish_scorer, publish_vae
from pocket.models.tokenizer import train_tokenizer
from pocket.training.autoencoder import encode, new_autoencoder, train_autoencoder, train_decoder
from pocket.training.corpus import Corpus, base_corpus, scorer_corpus
from pocket.training.diffusion import new_diffusion, train_diffusion
from pocket.training.fit import OnStep, Plan
from pocket.training.previews import autoencoder_preview, diffusion_preview
from pocket.training.recipe import Recipe
from pocket.training.scorer import train_scorer
from pocket.training.text_pretraining import pretrain_text_encoder


class PocketTraining:
    """Trains what the recipe asks for; work in progress lies in `work` and is taken up again.

    With `go_on` the published models are where the training starts; `base` and `decoder` keep their latents.
    """

    def __init__(self, recipe: Recipe, work: Path, out: Path, device: str = "cpu", *, go_on: bool = False) -> None:
        self.recipe, self.work, self.out, self.device, self.go_on = recipe, work, out, device, go_on

    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer both text encoders use: the published one, since training breaks its ties by chance."""
        trained = self.work / "tokenizer"
        folder = next((each for each in (self.out / "pocket/tokenizer", trained) if each.exists()), None)
        return CLIPTokenizer.from_pretrained(folder) if folder else train_tokenizer(trained)

    def _plan(self, name: str, steps: int, rate: float, before: str = "") -> Plan:
        """The plan; its state file is named by what decides it, so that another recipe starts anew."""
        sizes = str((self.recipe.images, self.recipe.scorer_images))
        part = getattr(self.recipe, name).model_dump_json() + sizes + before
        name = f"{name}-{sha256(part.encode()).hexdigest()[:8]}"
        return Plan(name, steps, rate, self.recipe.seed, self.work, device=self.device)

    def autoencoder(self) -> AutoencoderKL:
        """Train (or take up) the autoencoder."""
        part = self.recipe.autoencoder
        model = self._published_vae() if self.go_on else new_autoencoder(self.recipe.seed)
        plan = self._plan("autoencoder", part.steps, part.learning_rate, fingerprint(model) if self.go_on else "")
        return train_autoencoder(model, self._images(), plan, part, self._preview(model, "autoencoder"))

    def decoder(self) -> AutoencoderKL:
        """Train (or take up) the decoder on the autoencoder's latents; may run beside `base`."""
        part, model = self.recipe.decoder, self._published_vae() if self.go_on else self.autoencoder()
        plan = self._plan("decoder", part.steps, part.learning_rate, fingerprint(model))
        return train_decoder(model, self._images(), plan, part, self._preview(model, "decoder"))

    def finish_autoencoder(self) -> None:
        """Train the published autoencoder further and publish it: its latents change, so `base` has to go on too."""
        publish_vae(self.out / "pocket/vae", self.autoencoder())

    def finish_decoder(self) -> None:
        """Train the published decoder further and publish it in its place."""
        publish_vae(self.out / "pocket/vae", self.decoder())

    def _published(self, name: str, model: ModelMixin | PreTrainedModel) -> None:
        """Give `model` its published weights, as fp32."""
        model.load_state_dict(type(model).from_pretrained(self.out / "pocket" / name).float().state_dict())

    def _published_vae(self) -> AutoencoderKL:
        model = shapes.autoencoder().to(memory_format=torch.channels_last)
        self._published("vae", model)
        model.register_to_config(scaling_factor=1.0)
        return model.eval()

    def _images(self) -> NDArray[np.uint8]:
        return base_corpus(self.recipe.images, shapes.RESOLUTION).open(self.work)

    def _preview(self, model: AutoencoderKL, name: str) -> OnStep:
        return autoencoder_preview(model, self.work / "previews", name)

    def base(self) -> None:
        """Train autoencoder (or keep it), UNet and text encoder; publish the folder `pocket`."""
        vae = self._published_vae() if self.go_on else self.autoencoder()
        corpus = base_corpus(self.recipe.images, shapes.RESOLUTION)
        part = self.recipe.diffusion
        diffusion = new_diffusion(self.tokenizer(), self.recipe.seed)
        before = str(self.recipe.autoencoder)
        if self.go_on:
            self._published("unet", diffusion.unet)
            self._published("text_encoder", diffusion.text_encoder)
            before = fingerprint(diffusion)
        else:
            text = self.recipe.text_encoder
            pretraining = self._plan("text_encoder", text.steps, text.learning_rate)
            pretrain_text_encoder(diffusion.text_encoder, diffusion.tokenizer, pretraining, text.batch)
        plan = self._plan("diffusion", part.steps, part.learning_rate, before)
        preview = diffusion_preview(vae, diffusion, self.work / "previews")
        train_diffusion(diffusion, self._latents(vae, corpus), corpus, plan, part, preview=preview)
        publish_base(self.out / "pocket", vae if self.go_on else self.decoder(), diffusion)

    def _latents(self, vae: AutoencoderKL, images: Corpus) -> torch.Tensor:
        path = self.work / f"latents-{fingerprint(vae)}-{images.fingerprint}.pt"
        if path.exists():
            cached: torch.Tensor = torch.load(path, weights_only=True)
            return cached
        latents = encode(vae, images.open(self.work))
        torch.save(latents, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        return latents

    def scorer(self) -> None:
        """Train and publish the scorer, the folder `pocket-clip`."""
        corpus = scorer_corpus(self.recipe.scorer_images, shapes.SCORER_SIDE)
        part = self.recipe.scorer
        plan = self._plan("scorer", part.steps, part.learning_rate)
        tokenizer = self.tokenizer()
        model = train_scorer(corpus.open(self.work), corpus, tokenizer, plan, part.batch)
        publish_scorer(self.out / "pocket-clip", model, tokenizer)

    def snapshot(self) -> None:
        """Publish base and scorer untrained: the layout, for trying things out."""
        tokenizer = self.tokenizer()
        publish_base(self.out / "pocket", shapes.autoencoder(), new_diffusion(tokenizer, self.recipe.seed))
        publish_scorer(self.out / "pocket-clip", shapes.scorer(tokenizer), tokenizer)


def fingerprint(model: nn.Module) -> str:
    """Eight hex digits that name a model's weights."""
    digest = sha256()
    for value in model.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]

"""The second edition of the base in a given time on one GPU: autoencoder, UNet with text encoder, ControlNet.

Images are rendered on the CPU cores meanwhile. Each finished model is saved at once; the same call into the same
folder keeps what is there and gives the minutes to the rest.
"""

import logging
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.models import shapes
from pocket.models.publish import save_sharded
from pocket.training.autoencoder import encode, new_autoencoder, noisy_round_trip, normalise, reconstruction
from pocket.training.compile_ahead import (
    CompileAhead,
    CompiledLater,
    Predict,
    mixed_precision,
    set_up_device,
    unet_function,
)
from pocket.training.controlnet import train_controlnet
from pocket.training.diffusion import Diffusion, new_diffusion
from pocket.training.latent_store import LatentStore, to_device
from pocket.training.live_corpus import LiveCorpus
from pocket.training.previews import AVATAR_PROMPTS, PROMPTS, autoencoder_preview, diffusion_preview, pipeline
from pocket.training.recipe import GpuRecipe
from pocket.training.timed_fit import TimedPlan, fit_until

log = logging.getLogger(__name__)
PHASES = ("autoencoder", "base", "controlnet")


class GpuTraining:
    """Trains what is not yet in `out`, on `device`, starting from the tokenizer and text encoder of `base`."""

    def __init__(self, recipe: GpuRecipe, edition: shapes.Edition, base: Path, out: Path, device: str) -> None:
        self.recipe, self.edition, self.base, self.out = recipe, edition, base, out
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        self.tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")

    def run(self, minutes: float) -> None:
        """Train for `minutes` in all; the last twentieth is left for saving and for the previews."""
        start = time.monotonic()
        set_up_device(str(self.device))
        missing = [name for name in PHASES if not (self.out / name).is_dir()]
        ends = self._ends(missing, start, 60 * minutes)
        log.info("torch %s on %s, %.1f minutes for: %s", torch.__version__, self.device, minutes, ", ".join(missing))
        compiles = self.recipe.compile and "base" in missing
        # It takes 95 s: started here, it is done when the autoencoder is.
        ahead = CompileAhead(self.edition, self.recipe.base.batch, str(self.device)) if compiles else None
        with LiveCorpus(self.recipe.images, self.base / "tokenizer" / "tokenizer.json", shapes.TOKENS) as corpus:
            vae = self._autoencoder(corpus, ends)
            store = LatentStore(vae, corpus.arrays, self.recipe, self.generator)
            diffusion = self._base(corpus, store, vae, ends, ahead)
            if "controlnet" in missing:
                plan = self._plan("controlnet", ends["controlnet"])
                net = train_controlnet(diffusion, store, self.edition, self.recipe.seed, plan)
                save_sharded(self.out / "controlnet", net)
            diffusion_preview(vae, diffusion, self.out / "previews", PROMPTS + AVATAR_PROMPTS)(0)

    def _ends(self, missing: list[str], start: float, seconds: float) -> dict[str, float]:
        """When each missing phase ends, in seconds of `time.monotonic`, by the recipe's shares."""
        shares = {name: getattr(self.recipe, name).share for name in PHASES}
        scale = sum(shares.values()) / max(1e-9, sum(shares[name] for name in missing))
        ends = np.cumsum([shares[name] * scale for name in missing]) * seconds + start
        return dict(zip(missing, ends.tolist(), strict=True))

    def _plan(self, name: str, end: float) -> TimedPlan:
        return TimedPlan(name, time.monotonic(), end, getattr(self.recipe, name), self.recipe.log_every)

    def _autoencoder(self, corpus: LiveCorpus, ends: dict[str, float]) -> AutoencoderKL:
        """The autoencoder, trained on whole images, its latents normalised."""
        folder, recipe = self.out / "autoencoder", self.recipe.autoencoder
        if "autoencoder" not in ends:
            corpus.wait_for(self.recipe.base.batch)
            return AutoencoderKL.from_pretrained(folder, dtype=torch.float32).to(self.device).eval()
        vae = new_autoencoder(self.recipe.seed, self.edition).to(self.device)
        corpus.wait_for(4 * recipe.batch)
        rng = np.random.default_rng(self.recipe.seed)
        side = shapes.RESOLUTION // shapes.DOWNSCALE

        def loss() -> torch.Tensor:
            rows = np.sort(rng.choice(corpus.rendered(), recipe.batch))
            real = to_device(corpus.arrays.pixels[rows], self.device)
            real = real.flip(-1) if rng.random() < 0.5 else real
            shape = (recipe.batch, self.edition.latent_channels, side, side)
            noise = torch.randn(shape, device=self.device, generator=self.generator)
            with mixed_precision(str(self.device)):
                decoded = noisy_round_trip(vae, real, noise, recipe.noise)
            return reconstruction(decoded.float(), real)

        groups = [{"params": list(vae.parameters()), "lr": recipe.learning_rate}]
        fit_until(vae, groups, loss, self._plan("autoencoder", ends["autoencoder"]))
        normalise(vae, encode(vae, corpus.arrays.pixels[corpus.rendered()[:768]]), self.recipe.base.latent_noise)
        autoencoder_preview(vae, self.out / "previews", "autoencoder")(0)
        save_sharded(folder, vae)
        return vae

    def _base(
        self,
        corpus: LiveCorpus,
        store: LatentStore,
        vae: AutoencoderKL,
        ends: dict[str, float],
        ahead: CompileAhead | None,
    ) -> Diffusion:
        """UNet and text encoder, trained on the latents of every image rendered so far."""
        folder, recipe = self.out / "base", self.recipe.base
        if "base" not in ends:
            corpus.wait_for(self.recipe.images.edges_every * self.recipe.images.renderers)
            pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32).to(self.device)
            return Diffusion(self.tokenizer, pipe.unet, pipe.text_encoder, self.edition.prediction).eval()
        diffusion = new_diffusion(self.tokenizer, self.recipe.seed, self.edition)
        published = CLIPTextModel.from_pretrained(self.base / "text_encoder").float()
        diffusion.text_encoder.load_state_dict(published.state_dict())
        diffusion.to(self.device)
        unet = diffusion.unet
        predict: Predict = CompiledLater(unet, ahead, ends["base"]) if ahead else unet_function(unet)

        def loss() -> torch.Tensor:
            batch = store.sample(recipe.batch)
            with mixed_precision(str(self.device)):
                predicted = predict(batch.noisy, batch.times, diffusion.text_encoder(batch.ids)[0])
            return batch.loss(predicted)

        groups = [
            {"params": list(diffusion.unet.parameters()), "lr": recipe.learning_rate},
            {"params": list(diffusion.text_encoder.parameters()), "lr": recipe.text_learning_rate},
        ]
        fit_until(diffusion, groups, loss, self._plan("base", ends["base"]))
        log.info("base: learned from %d images", len(store.index()))
        save_sharded(folder, pipeline(vae, diffusion))
        return diffusion

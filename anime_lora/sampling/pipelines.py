"""Text to image, image to image and ControlNet from the same modules, with LoRAs at any weight."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)

from anime_lora.config.section import Base, Compute
from anime_lora.diffusion.base_model import configs_hash, load_pipeline, locate, weights_hash
from anime_lora.diffusion.device import pick_device
from anime_lora.errors import AdapterError
from anime_lora.files import sha256_file
from anime_lora.lora.load import load_onto
from anime_lora.lora.metadata import stated_prediction
from anime_lora.sampling.controlnet import load_controlnet
from anime_lora.sampling.suite import SECOND, STYLE, ModelIdentity

FIXES = {
    STYLE: "run `dvc repro train`, or correct the setting that names it",
    SECOND: "let validate_sample.second_adapter name a LoRA of this base, or data/none",
}

OTHER_FIX = "name a LoRA file that was trained on this base"


@dataclass(frozen=True)
class LoadedLora:
    """A LoRA on the base: hash of its file, and its name in a web UI's prompt."""

    sha256: str
    label: str


class Pipelines:
    """A base with up to two LoRAs and a ControlNet; all pipelines share the same modules, so the LoRAs' weights too.

    `identity` names base, sampler, size and dtype: with a shot, the LoRAs' hashes and `controlnet_identity` it decides
    every pixel.
    """

    def __init__(self, base: Base, compute: Compute, controlnet: str | None = None) -> None:
        path = locate(base)
        device = pick_device(compute.device)
        self.device, self.dtype = device, torch.float32 if device == "cpu" else torch.float16
        self.size = base.resolution
        self.text_to_image: StableDiffusionPipeline = load_pipeline(path, self.dtype).to(device)
        self.unet, self.vae = self.text_to_image.unet, self.text_to_image.vae
        self.unet.to(memory_format=torch.channels_last)
        self.vae.to(memory_format=torch.channels_last)
        parts = self.text_to_image.components
        self.image_to_image = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
        self.image_to_image.set_progress_bar_config(disable=True)
        self.controlnet: StableDiffusionControlNetImg2ImgPipeline | None = None
        self.controlnet_identity: str | None = None
        if controlnet:
            model, self.controlnet_identity = load_controlnet(controlnet, self.unet)
            self.controlnet = StableDiffusionControlNetImg2ImgPipeline(
                **parts, controlnet=model, requires_safety_checker=False
            )
            self.controlnet.set_progress_bar_config(disable=True)
        self.sampler = type(self.text_to_image.scheduler).__name__.removesuffix("Scheduler")
        self.model = Path(base.model).name
        self.identity = ModelIdentity(
            base=weights_hash(path)[:16],
            configs=configs_hash(path)[:16],
            sampler=self._sampler_identity(),
            resolution=self.size,
            dtype=str(self.dtype),
        )
        self.loras: dict[str, LoadedLora] = {}

    def _sampler_identity(self) -> str:
        config = json.dumps(dict(self.text_to_image.scheduler.config), sort_keys=True, default=str)
        return f"{self.sampler} {hashlib.sha256(config.encode()).hexdigest()[:16]}"

    def load_lora(self, file: Path, name: str = STYLE, label: str | None = None) -> None:
        """Put the LoRA in `file` on the base, at weight 0; `label` is its name in a web UI's prompt.

        Raises:
            AdapterError: the file is missing, damaged, something else, or was made for another base.
        """
        if not file.is_file():
            raise AdapterError(f"LoRA {file} is not there: {FIXES.get(name, OTHER_FIX)}")
        lora = load_onto(self.text_to_image, file, name, f"base.model {self.model}")
        for note in lora.notes:
            print(f"LoRA {file}: {note}", file=sys.stderr)
        if name == STYLE:
            self._predict_as(lora.metadata)
        self.loras[name] = LoadedLora(sha256_file(file), label or file.stem)
        self.set_weights({})

    def _predict_as(self, metadata: Mapping[str, str]) -> None:
        """Read the UNet's output as the LoRA was trained to; the base's scheduler may not say which it is."""
        prediction = stated_prediction(metadata)
        config = self.text_to_image.scheduler.config
        if prediction is None or prediction == config.prediction_type:
            return
        scheduler = type(self.text_to_image.scheduler).from_config(config, prediction_type=prediction)
        for pipeline in (self.text_to_image, self.image_to_image, self.controlnet):
            if pipeline is not None:
                pipeline.scheduler = scheduler
        self.identity = replace(self.identity, sampler=self._sampler_identity())

    def set_weights(self, weights: dict[str, float]) -> None:
        """Set each adapter's weight; those not named count 0, and with all at 0 the LoRA layers are off."""
        active = {name: weight for name, weight in weights.items() if weight != 0}
        if not self.loras:
            return
        # layers that multiply by 0 give the bare base's prediction too, but take their time
        if not active:
            self.text_to_image.disable_lora()
            return
        self.text_to_image.enable_lora()
        self.text_to_image.set_adapters(list(active), list(active.values()))

    @contextlib.contextmanager
    def merged(self, weights: dict[str, float]) -> Iterator[None]:
        """The LoRAs merged into the base's weights, which are restored bit for bit on leaving."""
        parts = (self.unet, self.text_to_image.text_encoder)
        # `unfuse_lora` subtracts what was added, which leaves rounding behind
        before = [{key: tensor.clone() for key, tensor in _base_weights(part).items()} for part in parts]
        self.set_weights(weights)
        self.text_to_image.fuse_lora(adapter_names=list(weights))
        try:
            yield
        finally:
            self.text_to_image.unfuse_lora()
            for part, tensors in zip(parts, before, strict=True):
                part.load_state_dict(tensors, strict=False)
            self.set_weights({})

    def unload_loras(self) -> None:
        """Take every LoRA off the base again."""
        self.text_to_image.unload_lora_weights()
        self.loras = {}


def _base_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in module.state_dict().items() if "lora_" not in key}

"""Text to image and image to image from the same modules, the LoRA's weight at will."""

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from anime_lora.config.section import Base, Compute
from anime_lora.diffusion.base_model import configs_hash, load_pipeline, locate, weights_hash
from anime_lora.diffusion.device import pick_device
from anime_lora.diffusion.tensor_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.files import sha256_file

STYLE, SECOND = "style", "second"
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}
"""What a LoRA file says the UNet predicts, in diffusers' words."""
CURES = {
    STYLE: "run `dvc repro train`, or correct the setting that names it",
    SECOND: "let validate_sample.second_adapter name a LoRA of this base, or null",
}


class Pipelines:
    """A base with up to two LoRAs; `text`, `image` and, once `add_controlnet` was called, `control` share its weights.

    `identity` names base, sampler, size and dtype: with a shot and the adapters' hashes it decides every pixel.
    """

    def __init__(self, base: Base, compute: Compute) -> None:
        path = locate(base)
        device = pick_device(compute.device)
        self.device, self.dtype = device, torch.float32 if device == "cpu" else torch.float16
        self.size = base.resolution
        self.text: StableDiffusionPipeline = load_pipeline(path, self.dtype).to(device)
        self.text.unet.to(memory_format=torch.channels_last)
        self.text.vae.to(memory_format=torch.channels_last)
        self.image = StableDiffusionImg2ImgPipeline(**self.text.components, requires_safety_checker=False)
        self.image.set_progress_bar_config(disable=True)
        self.sampler = type(self.text.scheduler).__name__.removesuffix("Scheduler")
        self.model = Path(base.model).name
        self.identity = {
            "base": weights_hash(path)[:16],
            "configs": configs_hash(path)[:16],
            "sampler": self._sampling(),
            "resolution": self.size,
            "dtype": str(self.dtype),
        }
        self.adapters: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.control: Any = None
        self.control_mark: str | None = None

    def _sampling(self) -> str:
        config = json.dumps(dict(self.text.scheduler.config), sort_keys=True, default=str)
        return f"{self.sampler} {hashlib.sha256(config.encode()).hexdigest()[:16]}"

    def _predict_as(self, file: Path) -> None:
        """Read the UNet's output as the LoRA in `file` was trained to; the base's scheduler may be silent about it."""
        prediction = read_header(file).metadata.get("modelspec.prediction_type", "")
        wanted = PREDICTIONS.get(prediction)
        if wanted is None or wanted == self.text.scheduler.config.prediction_type:
            return
        scheduler = type(self.text.scheduler).from_config(self.text.scheduler.config, prediction_type=wanted)
        self.text.scheduler = self.image.scheduler = scheduler
        self.identity["sampler"] = self._sampling()

    def load(self, file: Path, name: str = STYLE, label: str | None = None) -> None:
        """Put the LoRA in `file` on the base, at weight 0; `label` is its name in a web UI's prompt.

        Raises:
            AdapterError: the file is missing, damaged, or has other shapes than the base.
        """
        if not file.is_file():
            raise AdapterError(f"LoRA {file} is not there: {CURES[name]}")
        verbosity = diffusers_logging.get_verbosity()
        diffusers_logging.set_verbosity_error()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
                self.text.load_lora_weights(
                    file.parent, weight_name=file.name, adapter_name=name, local_files_only=True
                )
        except Exception as error:
            raise AdapterError(
                f"LoRA {file} does not load onto this base ({' '.join(str(error).split())[:240]}): "
                f"it is damaged or was trained on another base; {CURES[name]}"
            ) from error
        finally:
            diffusers_logging.set_verbosity(verbosity)
        if name not in self.text.get_list_adapters().get("unet", []):
            raise AdapterError(f"LoRA {file} holds no weights for this base's UNet: {CURES[name]}")
        if name == STYLE:
            self._predict_as(file)
        self.adapters[name] = sha256_file(file)
        self.labels[name] = label or file.stem
        self.set_weights({})

    def set_weights(self, weights: dict[str, float]) -> None:
        """Set each adapter's weight; those not named count 0, and with all at 0 the LoRA layers are off."""
        live = {name: weight for name, weight in weights.items() if weight != 0}
        if not self.adapters:
            return
        if not live:
            self.text.disable_lora()
            return
        self.text.enable_lora()
        self.text.set_adapters(list(live), list(live.values()))

    def unload(self) -> None:
        """Take every adapter off again."""
        self.text.unload_lora_weights()
        self.adapters = {}


@contextlib.contextmanager
def merged(pipelines: Pipelines, weights: dict[str, float]) -> Iterator[None]:
    """The LoRAs folded into the base's weights, and taken out bit for bit on leaving."""
    parts = (pipelines.text.unet, pipelines.text.text_encoder)
    before = [{key: value.clone() for key, value in part.state_dict().items() if "lora_" not in key} for part in parts]
    pipelines.set_weights(weights)
    pipelines.text.fuse_lora(adapter_names=list(weights))
    try:
        yield
    finally:
        pipelines.text.unfuse_lora()
        for part, values in zip(parts, before, strict=True):
            part.load_state_dict(values, strict=False)
        pipelines.set_weights({})

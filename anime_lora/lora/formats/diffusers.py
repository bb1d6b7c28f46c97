"""The LoRA format of diffusers: PEFT's tensor names in fp32, and PEFT's config in the metadata."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from torch import Tensor, nn

from anime_lora.lora.adapter import ADAPTER, ModuleWeights, layers

PeftConfig = dict[str, int | float | list[str] | dict[str, int] | dict[str, float]]
FILE_NAME = "pytorch_lora_weights.safetensors"
"""What `load_lora_weights` looks for in a folder."""


def tensor_name(name: str) -> str:
    """PEFT's name as diffusers saves it: `text_model` in the text encoder's, no `.weight` on DoRA's vector."""
    inner = name.removeprefix("text_encoder.")
    if inner != name and not inner.startswith("text_model."):
        name = f"text_encoder.text_model.{inner}"
    return name.removesuffix(".weight") if name.endswith("lora_magnitude_vector.weight") else name


def tensors(adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An adapter (PEFT names, as `adapter_state`) in diffusers' names."""
    return {tensor_name(name): value for name, value in adapter.items()}


def metadata(pipe: StableDiffusionPipeline, adapter: Mapping[str, Tensor]) -> dict[str, str]:
    """PEFT's config of each adapted part of `pipe`: without it diffusers loads every adapter at scale 1."""
    configs: dict[str, Any] = {}
    for part, module in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        if any(name.startswith(f"{part}.") for name in adapter):
            for key, value in module.peft_config[ADAPTER].to_dict().items():
                configs[f"{part}.{key}"] = sorted(value) if isinstance(value, set) else value
    return {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(configs, sort_keys=True)}


def peft_config(modules: Mapping[str, ModuleWeights], part: str) -> PeftConfig:
    """PEFT's config for the modules of `part` (`unet`, `text_encoder`), each key after the part's name.

    Modules are listed by their whole path below the part, without `text_model`, which some versions of transformers
    have and others not: PEFT compares the ends of paths.
    """
    inner = {
        path.removeprefix(f"{part}.").removeprefix("text_model."): weights
        for path, weights in modules.items()
        if path.startswith(f"{part}.")
    }
    if not inner:
        return {}
    rank = Counter(weights.rank for weights in inner.values()).most_common(1)[0][0]
    alpha = Counter(weights.alpha for weights in inner.values()).most_common(1)[0][0]
    config: PeftConfig = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: weights.rank for path, weights in inner.items() if weights.rank != rank},
        "alpha_pattern": {path: weights.alpha for path, weights in inner.items() if weights.alpha != alpha},
        "target_modules": sorted(inner),
        "use_dora": any(weights.magnitude is not None for weights in inner.values()),
    }
    return {f"{part}.{key}": value for key, value in config.items()}


def load(pipe: StableDiffusionPipeline, path: Path) -> dict[str, ModuleWeights]:
    """The adapter of each module after diffusers has loaded `path` into fp32 models of `pipe`'s architecture."""
    state, alphas, config = pipe.lora_state_dict(path.parent, weight_name=path.name, return_lora_metadata=True)
    models: dict[str, nn.Module] = {"unet": _empty_model(pipe.unet)}
    pipe.load_lora_into_unet(state, alphas, models["unet"], adapter_name=ADAPTER, metadata=config)
    if any(name.startswith("text_encoder.") for name in state):
        models["text_encoder"] = _empty_model(pipe.text_encoder)
        pipe.load_lora_into_text_encoder(state, alphas, models["text_encoder"], adapter_name=ADAPTER, metadata=config)
    weights = {}
    for part, model in models.items():
        for name, layer in layers(model):
            down, up = (factor[ADAPTER].weight.detach() for factor in (layer.lora_A, layer.lora_B))
            lengths = None
            if ADAPTER in layer.lora_magnitude_vector:
                lengths = layer.lora_magnitude_vector[ADAPTER].weight.detach().flatten()
            weights[f"{part}.{name}"] = ModuleWeights(down, up, float(layer.scaling[ADAPTER]), lengths)
    return weights


def _empty_model(model: Any) -> nn.Module:
    """A model of the same architecture whose weights are never set, and so take no memory."""
    with torch.device("meta"):
        empty: nn.Module = (getattr(type(model), "from_config", None) or type(model))(model.config)
    return empty.to_empty(device="cpu")

"""Put a LoRA file of any format onto a pipeline as an adapter of PEFT."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.base_fit import PARTS, fit, shapes_of_models
from anime_lora.lora.formats import diffusers
from anime_lora.lora.weights import LoraWeights, read_weights
from anime_lora.lora.write import diffusers_tensors


def load_onto(pipe: StableDiffusionPipeline, path: Path, adapter_name: str, base_name: str = "the base") -> LoraWeights:
    """Read the LoRA in `path` and add it to `pipe` under `adapter_name`, at weight 1.

    Returns:
        What the file holds; its `notes` are for people.

    Raises:
        AdapterError: the file cannot be used, or not on this base; says in one sentence what it is and what to do.
    """
    lora = read_weights(path)
    shapes = shapes_of_models(pipe.unet, pipe.text_encoder, base_name)
    add_adapter(pipe, fit(lora.modules, shapes, str(path)), adapter_name)
    return lora


def add_adapter(pipe: StableDiffusionPipeline, modules: Mapping[str, ModuleWeights], adapter_name: str) -> None:
    """Add factors as an adapter; `modules` has the models' own paths, as `fit` gives them."""
    config = {key: value for part in PARTS for key, value in diffusers.peft_config(modules, part).items()}
    state = diffusers_tensors(modules)
    # as load_lora_weights does: the factors stay in the file's dtype
    how = {"low_cpu_mem_usage": True, "_pipeline": pipe}
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # PEFT says so of every second adapter on one model, which is what is meant here
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            for part, load in (("unet", pipe.load_lora_into_unet), ("text_encoder", pipe.load_lora_into_text_encoder)):
                if any(name.startswith(f"{part}.") for name in state):
                    load(state, None, getattr(pipe, part), adapter_name=adapter_name, metadata=config, **how)
    except Exception as error:  # of diffusers, PEFT and torch
        raise AdapterError(f"the LoRA cannot be loaded: {' '.join(str(error).split())[:240]}") from error
    finally:
        diffusers_logging.set_verbosity(verbosity)

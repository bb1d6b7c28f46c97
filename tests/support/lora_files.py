"""LoRA files of every format for the tiny base, with random weights that change something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

from anime_lora.lora.base_fit import shapes_of_models
from anime_lora.lora.formats import kohya

Tensors = dict[str, Tensor]
LINEAR = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CROSS = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
OUT = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "unet.down_blocks.0.resnets.0.conv1"
TEXT = ("text_encoder.encoder.layers.0.self_attn.q_proj", "text_encoder.encoder.layers.0.self_attn.out_proj")
RANK, ALPHA = 4, 2.0


def shape(pipe: StableDiffusionPipeline, path: str) -> tuple[int, ...]:
    """Of the base's weight."""
    shapes = shapes_of_models(pipe.unet, pipe.text_encoder, "tiny").shapes
    return shapes[path if path in shapes else path.replace("text_encoder.", "text_encoder.text_model.")]


def pair(pipe: StableDiffusionPipeline, path: str, rank: int = RANK) -> tuple[Tensor, Tensor]:
    """Random down and up."""
    out, *reads = shape(pipe, path)
    return torch.randn(rank, *reads) / 10, torch.randn(out, rank, *[1] * (len(reads) - 1)) / 10


def kohya_file(pipe: StableDiffusionPipeline, *paths: str, rank: int = RANK, alpha: float | None = ALPHA) -> Tensors:
    """Linear layers, convolutions (LoCon) and the text encoder alike; no alpha where `alpha` is None."""
    tensors: Tensors = {}
    for path in paths:
        name = kohya.module_name(path)
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = pair(pipe, path, rank)
        tensors |= {} if alpha is None else {f"{name}.alpha": torch.tensor(alpha)}
    return tensors


def locon_core(pipe: StableDiffusionPipeline) -> Tensors:
    """A convolution as LyCORIS splits it: 1x1, a core, 1x1."""
    out, reads, side, _ = shape(pipe, CONV)
    name = kohya.module_name(CONV)
    return {
        f"{name}.lora_down.weight": torch.randn(RANK, reads, 1, 1) / 10,
        f"{name}.lora_mid.weight": torch.randn(RANK, RANK, side, side),
        f"{name}.lora_up.weight": torch.randn(out, RANK, 1, 1) / 10,
        f"{name}.alpha": torch.tensor(ALPHA),
    }


def loha(pipe: StableDiffusionPipeline) -> Tensors:
    """A linear layer and a convolution, whose factors lie flat."""
    tensors: Tensors = {}
    for path in (LINEAR, CONV):
        out, *reads = shape(pipe, path)
        n, name = torch.Size(reads).numel(), kohya.module_name(path)
        for number in "12":
            tensors[f"{name}.hada_w{number}_a"] = torch.randn(out, 2) / 3
            tensors[f"{name}.hada_w{number}_b"] = torch.randn(2, n) / 3
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    return tensors


def lokr(pipe: StableDiffusionPipeline) -> Tensors:
    """A linear layer with the larger factor split."""
    out, reads = shape(pipe, LINEAR)
    name = kohya.module_name(LINEAR)
    return {
        f"{name}.lokr_w1": torch.randn(4, 4) / 10,
        f"{name}.lokr_w2_a": torch.randn(out // 4, 2),
        f"{name}.lokr_w2_b": torch.randn(2, reads // 4),
        f"{name}.alpha": torch.tensor(1.0),
    }


def full(pipe: StableDiffusionPipeline) -> Tensors:
    """The difference of a weight, whole."""
    return {f"{kohya.module_name(LINEAR)}.diff": torch.randn(shape(pipe, LINEAR)) / 10}


def peft(pipe: StableDiffusionPipeline, *paths: str, rank: int = RANK) -> Tensors:
    """PEFT's names as diffusers saves them."""
    tensors: Tensors = {}
    for path in paths:
        down, up = pair(pipe, path, rank)
        name = path.replace("text_encoder.encoder", "text_encoder.text_model.encoder")
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    return tensors


def attention_processors(pipe: StableDiffusionPipeline) -> Tensors:
    """Names of diffusers 0.12 to 0.20, without `unet.`."""
    tensors: Tensors = {}
    for path in (LINEAR, CROSS, OUT):
        attention, _, projection = path.removeprefix("unet.").removesuffix(".0").rpartition(".")
        name = f"{attention}.processor.{projection}_lora"
        tensors[f"{name}.down.weight"], tensors[f"{name}.up.weight"] = pair(pipe, path)
    return tensors


def peft_metadata(alpha: float, rank: int, **more: Any) -> dict[str, str]:
    """What diffusers writes beside PEFT's names."""
    config = {"r": rank, "lora_alpha": alpha, **more}
    targets = {"unet": (LINEAR, CROSS, OUT), "text_encoder": TEXT}
    parts = {
        part: config | {"target_modules": [path.removeprefix(f"{part}.") for path in paths]}
        for part, paths in targets.items()
    }
    flat = {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}
    return {"lora_adapter_metadata": json.dumps(flat)}


KINDS: dict[str, Callable[[StableDiffusionPipeline], Tensors]] = {
    "linear": lambda pipe: kohya_file(pipe, LINEAR, CROSS, OUT),
    "with text encoder": lambda pipe: kohya_file(pipe, LINEAR, *TEXT),
    "locon": lambda pipe: kohya_file(pipe, LINEAR, CONV),
    "locon with a core": locon_core,
    "loha": loha,
    "lokr": lokr,
    "full difference": full,
    "peft": lambda pipe: peft(pipe, LINEAR, CROSS, OUT, *TEXT),
    "attention processors": attention_processors,
}
"""A file of each kind."""


def write(folder: Path, kind: str, pipe: StableDiffusionPipeline, seed: int = 0) -> Path:
    """A file of a kind of `KINDS`."""
    torch.manual_seed(seed)
    path = folder / f"{kind.replace(' ', '-')}-{seed}.safetensors"
    metadata = peft_metadata(ALPHA, RANK) if kind == "peft" else None
    save_file(KINDS[kind](pipe), path, metadata)
    return path

"""The LoRA format of kohya, A1111, Forge and ComfyUI: module names, tensors and back.

A module is `lora_unet_<path with . as _>` or `lora_te_text_model_<path>`, with `.lora_down.weight`, `.lora_up.weight`
and a scalar `.alpha`; a webui applies alpha / rank · up · down.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from anime_lora.errors import AdapterError

PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
PARTS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector.weight": "dora_scale",
}


def module_name(path: str) -> str:
    """`unet.down_blocks.0…to_q` as `lora_unet_down_blocks_0_…_to_q`.

    transformers ≥ 5.6 names CLIP's modules without `text_model`, which webuis look for: it is put back.
    """
    model, inner = path.split(".", maxsplit=1)
    if model == "text_encoder" and not inner.startswith("text_model."):
        inner = f"text_model.{inner}"
    return PREFIXES[model] + inner.replace(".", "_")


def split_name(name: str) -> tuple[str, str]:
    """A tensor's module path and its part: `…to_q.lora_A.weight` as (`…to_q`, `lora_A.weight`)."""
    for part in PARTS:
        if name.endswith(f".{part}"):
            return name.removesuffix(f".{part}"), part
    raise AdapterError(f"{name} is no LoRA tensor")


def written_alpha(rank: int, alpha: float, rslora: bool) -> float:
    """The alpha that a reader divides by the rank: rsLoRA's alpha/√rank is alpha·√rank / rank."""
    return alpha * math.sqrt(rank) if rslora else alpha


def tensors(adapter: dict[str, Tensor], alpha: float, rslora: bool) -> dict[str, Tensor]:
    """An adapter (PEFT names, as `lora.adapter_state`) in kohya's names: fp16 factors, fp32 alphas and DoRA lengths."""
    found: dict[str, Tensor] = {}
    for name, value in adapter.items():
        path, part = split_name(name)
        module = module_name(path)
        if (
            part == "lora_magnitude_vector.weight"
        ):  # one length per output, in the shape that broadcasts over the weight
            shape = (-1, *[1] * (adapter[f"{path}.lora_A.weight"].dim() - 1))
            found[f"{module}.dora_scale"] = value.reshape(shape)
            continue
        found[f"{module}.{PARTS[part]}"] = value.to(torch.float16)
        if part == "lora_A.weight":
            found[f"{module}.alpha"] = torch.tensor(written_alpha(value.shape[0], alpha, rslora))
    return found


def factors(found: dict[str, Tensor], paths: Iterable[str]) -> dict[str, tuple[Tensor, Tensor, float]]:
    """down, up and scale of every module of a kohya file, by module paths of the model (`unet.…`, `text_encoder.…`).

    Raises:
        AdapterError: the file has modules that the model lacks.
    """
    known = {module_name(path): path for path in paths}
    modules = {name.split(".")[0] for name in found}
    foreign = sorted(modules - known.keys())
    if foreign:
        raise AdapterError(
            f"the LoRA has modules the model lacks, e.g. {foreign[0]} ({len(foreign)} of {len(modules)})"
        )
    result = {}
    for module in sorted(modules):
        down, up = found[f"{module}.lora_down.weight"], found[f"{module}.lora_up.weight"]
        result[known[module]] = (down, up, float(found[f"{module}.alpha"]) / down.shape[0])
    return result


def lengths(found: dict[str, Tensor], paths: Iterable[str]) -> dict[str, Tensor]:
    """DoRA's length of each output, flat, by module paths of the model that a kohya file has one for."""
    named = {path: f"{module_name(path)}.dora_scale" for path in paths}
    return {path: found[name].flatten() for path, name in named.items() if name in found}

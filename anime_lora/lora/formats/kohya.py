"""The LoRA format of kohya, A1111, Forge and ComfyUI: module names, tensors and back.

A module is `lora_unet_<path with . as _>` or `lora_te_text_model_<path>`, with `.lora_down.weight`, `.lora_up.weight`
and a scalar `.alpha`; a webui applies alpha / rank · up · down.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights, split_name

PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
TENSORS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector.weight": "dora_scale",
}
"""PEFT's names of a module's tensors, and kohya's."""


def module_name(path: str) -> str:
    """`unet.down_blocks.0…to_q` as `lora_unet_down_blocks_0_…_to_q`.

    transformers ≥ 5.6 names CLIP's modules without `text_model`, which webuis look for: it is put back.
    """
    model, inner = path.split(".", maxsplit=1)
    if model == "text_encoder" and not inner.startswith("text_model."):
        inner = f"text_model.{inner}"
    return PREFIXES[model] + inner.replace(".", "_")


def written_alpha(rank: int, alpha: float, rslora: bool) -> float:
    """The alpha that a reader divides by the rank: rsLoRA's alpha/√rank is alpha·√rank / rank."""
    return alpha * math.sqrt(rank) if rslora else alpha


def tensors(adapter: Mapping[str, Tensor], alpha: float, rslora: bool) -> dict[str, Tensor]:
    """An adapter (PEFT names, as `adapter_state`) in kohya's names: fp16 factors, fp32 alphas and DoRA lengths."""
    named: dict[str, Tensor] = {}
    for name, value in adapter.items():
        path, part = split_name(name)
        target = f"{module_name(path)}.{TENSORS[part]}"
        if part == "lora_magnitude_vector.weight":
            # one length per output, in the shape that broadcasts over the weight
            named[target] = value.reshape(-1, *[1] * (adapter[f"{path}.lora_A.weight"].dim() - 1))
            continue
        named[target] = value.to(torch.float16)
        if part == "lora_A.weight":
            named[f"{module_name(path)}.alpha"] = torch.tensor(written_alpha(value.shape[0], alpha, rslora))
    return named


def module_weights(file_tensors: Mapping[str, Tensor], paths: Iterable[str]) -> dict[str, ModuleWeights]:
    """The adapter of each module of a kohya file, as kohya's own loader finds it: by the names of the model's modules.

    Args:
        file_tensors: what the file holds.
        paths: module paths of the model (`unet.…`, `text_encoder.…`).

    Raises:
        AdapterError: the file has modules that the model lacks.
    """
    known = {module_name(path): path for path in paths}
    modules = {name.split(".")[0] for name in file_tensors}
    foreign = sorted(modules - known.keys())
    if foreign:
        raise AdapterError(
            f"the LoRA has modules the model lacks, e.g. {foreign[0]} ({len(foreign)} of {len(modules)})"
        )
    weights = {}
    for module in sorted(modules):
        down, up = file_tensors[f"{module}.lora_down.weight"], file_tensors[f"{module}.lora_up.weight"]
        lengths = file_tensors.get(f"{module}.dora_scale")
        weights[known[module]] = ModuleWeights(
            down,
            up,
            float(file_tensors[f"{module}.alpha"]) / down.shape[0],
            None if lengths is None else lengths.flatten(),
        )
    return weights

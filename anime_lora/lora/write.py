"""Write factors as a LoRA file, in kohya's or diffusers' format, and prove it by reading it back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anime_lora.diffusion.tensor_file import serialize
from anime_lora.errors import AdapterError
from anime_lora.files import write_bytes
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.base_fit import PARTS
from anime_lora.lora.export import HASHES, check_equal
from anime_lora.lora.formats import diffusers, kohya
from anime_lora.lora.formats.names import canonical
from anime_lora.lora.weights import PEFT_CONFIG, read_weights

Format = Literal["kohya", "diffusers"]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
KOHYA_ONLY = ("dora_scale",)


def write_weights(
    path: Path,
    modules: Mapping[str, ModuleWeights],
    metadata: Mapping[str, str],
    file_format: Format,
    dtype: torch.dtype | None = None,
) -> None:
    """Write `modules` (paths as `read_weights` or `fit` gives them) to `path`.

    Args:
        path: where; a file there is replaced.
        modules: factors and scales by module.
        metadata: what the file says of itself; hashes and PEFT's config are made anew.
        file_format: kohya (A1111, Forge, ComfyUI and diffusers read it) or diffusers (PEFT's names).
        dtype: of the factors; None: each as it is.

    Raises:
        AdapterError: a value does not fit into `dtype`, or the file reads back differently.
    """
    modules = {canonical(path) or path: weights for path, weights in modules.items()}
    tensors = (kohya_tensors if file_format == "kohya" else diffusers_tensors)(modules)
    cast = {name: _cast(name, value, dtype) for name, value in tensors.items()}
    described = {key: value for key, value in metadata.items() if key not in {*HASHES, PEFT_CONFIG}}
    if file_format == "diffusers":
        config = {key: value for part in PARTS for key, value in diffusers.peft_config(modules, part).items()}
        described[PEFT_CONFIG] = json.dumps(config, sort_keys=True)
    write_bytes(path, serialize(cast, described, HASHES))
    check_equal(modules, read_weights(path).modules, path.name)


def _cast(name: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Factors in `dtype`; alphas and DoRA's lengths stay as they are."""
    if dtype is None or value.dim() < 2 or name.endswith(KOHYA_ONLY):
        return value
    cast = value.to(dtype)
    if not cast.isfinite().all():
        raise AdapterError(f"{name} holds values too large for {str(dtype).removeprefix('torch.')}: choose fp32")
    return cast


def kohya_tensors(modules: Mapping[str, ModuleWeights]) -> dict[str, Tensor]:
    """The tensors by kohya's names, alphas as fp32 scalars."""
    tensors = {}
    for path, weights in modules.items():
        name = kohya.module_name(path)
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = weights.down, weights.up
        tensors[f"{name}.alpha"] = torch.tensor(weights.alpha)
        if weights.magnitude is not None:
            tensors[f"{name}.dora_scale"] = weights.magnitude.reshape(-1, *[1] * (weights.down.dim() - 1))
    return tensors


def diffusers_tensors(modules: Mapping[str, ModuleWeights]) -> dict[str, Tensor]:
    """The tensors by PEFT's names as diffusers saves them."""
    tensors = {}
    for path, weights in modules.items():
        tensors[f"{path}.lora_A.weight"], tensors[f"{path}.lora_B.weight"] = weights.down, weights.up
        if weights.magnitude is not None:
            tensors[f"{path}.lora_magnitude_vector"] = weights.magnitude
    return tensors


def network_metadata(modules: Mapping[str, ModuleWeights]) -> dict[str, str]:
    """What kohya's metadata say of rank and alpha; `Dynamic` where modules differ, as its own tools write."""
    ranks, alphas = ({getattr(one, key) for one in modules.values()} for key in ("rank", "alpha"))
    return {
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(alphas.pop()) if len(alphas) == 1 else "Dynamic",
    }

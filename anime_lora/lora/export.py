"""The two files a LoRA is shared as, written from one adapter and proven by reading them back."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import load_file
from torch import Tensor, nn

from anime_lora.config.train import Train
from anime_lora.diffusion.tensor_file import serialize
from anime_lora.errors import AdapterError
from anime_lora.files import write_bytes
from anime_lora.lora import adapter as lora
from anime_lora.lora.formats import kohya

DIFFUSERS = "pytorch_lora_weights.safetensors"
HASHES = {"sshs_model_hash": "", "modelspec.hash_sha256": "0x"}
TOLERANCE = 2.0**-9
"""Largest difference of ΔW relative to its largest value: two factors rounded to fp16 (2⁻¹¹ each) stay below it."""

Factors = dict[str, tuple[Tensor, Tensor, float]]
Lengths = dict[str, Tensor]
"""DoRA's length of each output, flat, by module; empty without DoRA."""


def write_diffusers(
    folder: Path, pipe: StableDiffusionPipeline, adapter: dict[str, Tensor], kohya_metadata: dict[str, str]
) -> Path:
    """`pytorch_lora_weights.safetensors`, fp32, with the PEFT metadata without which alpha is lost on load.

    Of `kohya_metadata`, what the kohya file says about itself, it repeats the model specification and the lineage.
    """
    described: dict[str, Any] = {}
    for part, module in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        if any(name.startswith(f"{part}.") for name in adapter):
            described |= {f"{part}.{key}": value for key, value in _config(module).items()}
    metadata = {key: value for key, value in kohya_metadata.items() if key.startswith(("modelspec.", "anime_lora."))}
    metadata |= {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(described, sort_keys=True)}
    named = {_diffusers_name(name): value for name, value in adapter.items()}
    path = folder / DIFFUSERS
    write_bytes(path, serialize(named, metadata, HASHES))
    return path


def _config(module: nn.Module) -> dict[str, Any]:
    """PEFT's description of the adapter on `module`, as JSON can hold it."""
    found: dict[str, Any] = module.peft_config[lora.ADAPTER].to_dict()  # type: ignore[index, union-attr]
    return {key: sorted(value) if isinstance(value, set) else value for key, value in found.items()}


def _diffusers_name(name: str) -> str:
    """Our name as diffusers saves it: `text_model` in the text encoder's, no `.weight` on DoRA's vector."""
    inner = name.removeprefix("text_encoder.")
    if inner != name and not inner.startswith("text_model."):
        name = f"text_encoder.text_model.{inner}"
    return name.removesuffix(".weight") if name.endswith("lora_magnitude_vector.weight") else name


def write_kohya(path: Path, adapter: dict[str, Tensor], settings: Train, metadata: dict[str, str]) -> Path:
    """The file webuis read, with the hashes they know it by, proven.

    Raises:
        AdapterError: a weight is not finite or too large for fp16, or the file reads back differently.
    """
    for name, value in adapter.items():
        if not value.to(torch.float16).isfinite().all():
            raise AdapterError(f"{name} is not finite in fp16: training has diverged; lower train.learning_rate")
    write_bytes(path, serialize(kohya.tensors(adapter, settings.alpha, settings.rslora), metadata, HASHES))
    _prove(adapter, settings, path.name, loaded_by_webui(path, list(expected(adapter, settings))))
    return path


def _prove(adapter: dict[str, Tensor], settings: Train, file: str, found: tuple[Factors, Lengths]) -> None:
    check_equal(expected(adapter, settings), found[0], file)
    check_lengths(expected_lengths(adapter), found[1], file)


def expected(adapter: dict[str, Tensor], settings: Train) -> Factors:
    """down, up and scale of each module of the adapter that was trained."""
    factor = lora.scale(settings.rank, settings.alpha, settings.rslora)
    paths = sorted({kohya.split_name(name)[0] for name in adapter})
    return {path: (adapter[f"{path}.lora_A.weight"], adapter[f"{path}.lora_B.weight"], factor) for path in paths}


def expected_lengths(adapter: dict[str, Tensor]) -> Lengths:
    """The lengths that were trained."""
    split = {kohya.split_name(name): value for name, value in adapter.items()}
    return {path: value.flatten() for (path, part), value in split.items() if part == "lora_magnitude_vector.weight"}


def loaded_by_diffusers(pipe: StableDiffusionPipeline, path: Path) -> tuple[Factors, Lengths]:
    """What each module has after diffusers has loaded `path` into fp32 models of `pipe`'s architecture."""
    state, alphas, metadata = pipe.lora_state_dict(path.parent, weight_name=path.name, return_lora_metadata=True)
    parts: dict[str, nn.Module] = {"unet": _skeleton(pipe.unet)}
    pipe.load_lora_into_unet(state, alphas, parts["unet"], adapter_name=lora.ADAPTER, metadata=metadata)
    if any(name.startswith("text_encoder.") for name in state):
        parts["text_encoder"] = _skeleton(pipe.text_encoder)
        pipe.load_lora_into_text_encoder(
            state, alphas, parts["text_encoder"], adapter_name=lora.ADAPTER, metadata=metadata
        )
    found: Factors = {}
    lengths: Lengths = {}
    for part, module in parts.items():
        for name, layer in lora.layers(module):
            down, up = (factor[lora.ADAPTER].weight.detach() for factor in (layer.lora_A, layer.lora_B))
            found[f"{part}.{name}"] = (down, up, float(layer.scaling[lora.ADAPTER]))
            if lora.ADAPTER in layer.lora_magnitude_vector:
                lengths[f"{part}.{name}"] = layer.lora_magnitude_vector[lora.ADAPTER].weight.detach().flatten()
    return found, lengths


def _skeleton(module: Any) -> nn.Module:
    """A model of the same architecture whose weights are never set, and so take no memory."""
    with torch.device("meta"):
        empty: nn.Module = (getattr(type(module), "from_config", None) or type(module))(module.config)
    return empty.to_empty(device="cpu")


def loaded_by_webui(path: Path, names: list[str]) -> tuple[Factors, Lengths]:
    """What each module has as kohya's own loader finds it: by the names of the model's modules."""
    tensors = load_file(path)
    return kohya.factors(tensors, names), kohya.lengths(tensors, names)


def check_equal(wanted: Factors, found: Factors, file: str) -> None:
    """Compare ΔW of every module.

    Raises:
        AdapterError: another number of modules, or a ΔW that differs by more than fp16 rounding.
    """
    if wanted.keys() != found.keys():
        differing = sorted(wanted.keys() ^ found.keys())
        raise AdapterError(
            f"{file} reads back with {len(found)} modules instead of {len(wanted)}, e.g. {differing[0]}: "
            "nothing is published"
        )
    for name, parts in wanted.items():
        right, read = lora.delta(*parts), lora.delta(*found[name])
        limit = TOLERANCE * float(right.abs().max()) + _underflow(parts)
        difference = float((right - read).abs().max())
        if not difference <= limit:
            raise AdapterError(
                f"{file}: ΔW of {name} reads back {difference:.3g} off (limit {limit:.3g}): nothing is published"
            )


def check_lengths(wanted: Lengths, found: Lengths, file: str) -> None:
    """Compare DoRA's lengths, which both files hold in fp32.

    Raises:
        AdapterError: a module's lengths are missing or differ.
    """
    for name in sorted(wanted.keys() | found.keys()):
        if name not in wanted or name not in found or not torch.equal(wanted[name], found[name]):
            raise AdapterError(f"{file}: DoRA's lengths of {name} read back differently: nothing is published")


def _underflow(parts: tuple[Tensor, Tensor, float]) -> float:
    """What fp16's smallest steps (2⁻²⁴) may add: each factor's, times the other's sum over the rank."""
    down, up, factor = parts
    steps = 2.0**-24 * (float(down.flatten(1).abs().sum(0).max()) + float(up.flatten(1).abs().sum(1).max()))
    return factor * steps


def export(
    pipe: StableDiffusionPipeline,
    adapter: dict[str, Tensor],
    settings: Train,
    files: tuple[Path, str],
    metadata: dict[str, str],
) -> tuple[Path, Path]:
    """Write both files into a folder (`files`: folder, name of the kohya file) and prove them; returns their paths.

    Raises:
        AdapterError: a weight is not finite or too large for fp16, or a file reads back differently.
    """
    folder, kohya_name = files
    second = write_kohya(folder / kohya_name, adapter, settings, metadata)
    first = write_diffusers(folder, pipe, adapter, metadata)
    _prove(adapter, settings, first.name, loaded_by_diffusers(pipe, first))
    return first, second

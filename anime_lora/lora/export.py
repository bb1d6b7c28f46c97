"""The two files a LoRA is shared as, written from one adapter and proven by reading them back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor

from anime_lora.config.train import Train
from anime_lora.diffusion.tensor_file import serialize
from anime_lora.errors import AdapterError
from anime_lora.files import write_bytes
from anime_lora.lora.adapter import ModuleWeights, module_weights, scale
from anime_lora.lora.formats import diffusers, kohya

HASHES = {"sshs_model_hash": "", "modelspec.hash_sha256": "0x"}
"""Metadata keys that webuis and model sites know a file by, and what stands before the hash."""
TOLERANCE = 2.0**-9
"""Largest difference of ΔW relative to its largest value: two factors rounded to fp16 (2⁻¹¹ each) stay below it."""


@dataclass(frozen=True)
class ExportedFiles:
    """Where one adapter lies in both formats."""

    diffusers: Path
    kohya: Path


def export(  # noqa: PLR0917  two files of one adapter
    pipe: StableDiffusionPipeline,
    adapter: Mapping[str, Tensor],
    settings: Train,
    folder: Path,
    kohya_name: str,
    metadata: Mapping[str, str],
) -> ExportedFiles:
    """Write both files into `folder` and check that they read back as the adapter.

    Args:
        pipe: the pipeline that was trained.
        adapter: a copy of its adapters, as `adapter_state`.
        settings: rank, alpha and rsLoRA decide the scale.
        folder: where both files are written.
        kohya_name: the kohya file's name; diffusers' has a fixed one.
        metadata: as `file_metadata`.

    Raises:
        AdapterError: a weight is not finite or too large for fp16, or a file reads back differently.
    """
    # kohya's first: it checks for values that fp16 cannot hold before a file is written
    kohya_file = write_kohya(folder / kohya_name, adapter, settings, metadata)
    diffusers_file = write_diffusers(folder, pipe, adapter, metadata)
    check_equal(_trained(adapter, settings), diffusers.load(pipe, diffusers_file), diffusers_file.name)
    return ExportedFiles(diffusers_file, kohya_file)


def write_kohya(path: Path, adapter: Mapping[str, Tensor], settings: Train, metadata: Mapping[str, str]) -> Path:
    """Write the file that webuis read, with the hashes they know it by, and check that it reads back.

    Raises:
        AdapterError: a weight is not finite or too large for fp16, or the file reads back differently.
    """
    for name, value in adapter.items():
        if not value.to(torch.float16).isfinite().all():
            raise AdapterError(f"{name} is not finite in fp16: training has diverged; lower train.learning_rate")
    write_bytes(path, serialize(kohya.tensors(adapter, settings.alpha, settings.rslora), metadata, HASHES))
    trained = _trained(adapter, settings)
    check_equal(trained, kohya.module_weights(load_file(path), trained), path.name)
    return path


def write_diffusers(
    folder: Path, pipe: StableDiffusionPipeline, adapter: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write the file that diffusers reads; of `metadata` it takes the model specification and the lineage."""
    shared = {key: value for key, value in metadata.items() if key.startswith(("modelspec.", "anime_lora."))}
    path = folder / diffusers.FILE_NAME
    write_bytes(path, serialize(diffusers.tensors(adapter), shared | diffusers.metadata(pipe, adapter), HASHES))
    return path


def _trained(adapter: Mapping[str, Tensor], settings: Train) -> dict[str, ModuleWeights]:
    return module_weights(adapter, scale(settings.rank, settings.alpha, settings.rslora))


def check_equal(trained: Mapping[str, ModuleWeights], read: Mapping[str, ModuleWeights], file: str) -> None:
    """Compare ΔW of every module to fp16's rounding, and DoRA's lengths, which both files hold in fp32, exactly.

    Raises:
        AdapterError: another number of modules, a ΔW or length that differs.
    """
    if trained.keys() != read.keys():
        differing = sorted(trained.keys() ^ read.keys())
        raise AdapterError(
            f"{file} reads back with {len(read)} modules instead of {len(trained)}, e.g. {differing[0]}: "
            "nothing is published"
        )
    for name, weights in trained.items():
        if _same_factors(weights, read[name]):
            continue
        delta = weights.delta()
        limit = TOLERANCE * float(delta.abs().max()) + _underflow(weights)
        difference = float((delta - read[name].delta()).abs().max())
        if not difference <= limit:
            raise AdapterError(
                f"{file}: ΔW of {name} reads back {difference:.3g} off (limit {limit:.3g}): nothing is published"
            )
        if not _equal_lengths(weights.magnitude, read[name].magnitude):
            raise AdapterError(f"{file}: DoRA's lengths of {name} read back differently: nothing is published")


def _same_factors(one: ModuleWeights, other: ModuleWeights) -> bool:
    """Whether nothing was rounded, so that ΔW need not be computed."""
    same = one.scale == other.scale and one.down.dtype == other.down.dtype and one.up.dtype == other.up.dtype
    equal = same and torch.equal(one.down, other.down) and torch.equal(one.up, other.up)
    return equal and bool(one.down.isfinite().all()) and _equal_lengths(one.magnitude, other.magnitude)


def _underflow(weights: ModuleWeights) -> float:
    """What fp16's smallest steps (2⁻²⁴) may add: each factor's, times the other's sum over the rank."""
    down, up = weights.down.flatten(1).abs().sum(0), weights.up.flatten(1).abs().sum(1)
    return weights.scale * 2.0**-24 * (float(down.max()) + float(up.max()))


def _equal_lengths(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)

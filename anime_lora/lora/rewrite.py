"""New LoRA files from others: merged, converted, resized."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from anime_lora.errors import AdapterError
from anime_lora.files import sha256_file
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.arithmetic import Approximation, Modules, merge, resize
from anime_lora.lora.weights import LoraWeights, read_weights
from anime_lora.lora.write import DTYPES, Format, network_metadata, write_weights

SUFFIX = ".safetensors"
THREE_BY_THREE = ("conv1", "conv2", "downsamplers.0.conv", "upsamplers.0.conv", "unet.conv_in", "unet.conv_out")
"""How the paths of 3x3 convolutions in a Stable Diffusion UNet end."""
INHERITED = (
    *("modelspec.sai_model_spec", "modelspec.architecture", "modelspec.resolution", "modelspec.prediction_type"),
    *("ss_base_model_version", "ss_v2", "ss_sd_model_name", "ss_resolution", "ss_clip_skip", "anime_lora.base_sha256"),
)
"""What a merged file says when all of its parts say the same."""


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    modules: int
    notes: tuple[str, ...]
    """What a person should know, each with the file it is about."""
    loss: Approximation | None = None
    """What a lower rank cost; None where nothing was lost."""

    def lines(self) -> list[str]:
        """For people."""
        size = f"{self.path.stat().st_size / 2**20:.2f} MiB"
        result = f"wrote {self.path}: {self.modules} modules, {size}" + (f"; {self.loss}" if self.loss else "")
        return [*(f"note: {note}" for note in self.notes), result]


def check_output(out: Path, inputs: Sequence[Path], force: bool) -> None:
    """Check that a LoRA file may be written to `out`.

    Raises:
        AdapterError: it is one of the inputs, there already, or has another suffix.
    """
    if out.suffix != SUFFIX:
        raise AdapterError(f"{out} does not end in {SUFFIX}: LoRA files are written in that format only")
    if any(out.absolute() == one.absolute() or (out.exists() and one.exists() and out.samefile(one)) for one in inputs):
        raise AdapterError(f"{out} is one of the files that are read: choose another name")
    if out.exists() and not force:
        raise AdapterError(f"{out} is there already: choose another name, or add --force to replace it")


def merge_files(
    parts: Sequence[tuple[Path, float]], out: Path, file_format: Format, dtype: str = "fp32", rank: int | None = None
) -> Written:
    """Write Σ weight · LoRA; exact, or of at most `rank`.

    Raises:
        AdapterError: a file cannot be used, is a DoRA, or they are for different bases.
    """
    loras = [read_weights(path) for path, _ in parts]
    widths = {width for lora in loras if (width := text_width(lora.modules)) is not None}
    if len(widths) > 1:
        raise AdapterError(f"the LoRAs were made for different bases: they read text of widths {sorted(widths)}")
    modules = merge([(in_shape(lora.modules), weight) for lora, (_, weight) in zip(loras, parts, strict=True)])
    modules, loss = resize(modules, rank) if rank is not None else (modules, None)
    predictions = {lora.metadata.get("modelspec.prediction_type", "epsilon") for lora in loras}
    notes = [f"{path}: {note}" for lora, (path, _) in zip(loras, parts, strict=True) for note in lora.notes]
    if len(predictions) > 1:
        notes.append(f"the LoRAs were trained to predict different things ({', '.join(sorted(predictions))})")
    sources = [{"file": path.name, "sha256": sha256_file(path), "weight": weight} for path, weight in parts]
    metadata = {**_common(loras), **network_metadata(modules), "anime_lora.merged_from": json.dumps(sources)}
    write_weights(out, modules, metadata, file_format, DTYPES[dtype])
    return Written(out, len(modules), tuple(notes), loss)


def _common(loras: Sequence[LoraWeights]) -> dict[str, str]:
    """The metadata that hold for the merged file too: what all parts say alike."""
    return {
        key: loras[0].metadata[key]
        for key in INHERITED
        if key in loras[0].metadata and all(lora.metadata.get(key) == loras[0].metadata[key] for lora in loras)
    }


def convert_file(path: Path, out: Path, file_format: Format, dtype: str | None = None) -> Written:
    """Write the LoRA in `path` in another format, with its metadata; factors keep their dtype where none is given.

    LoHa, LoKr and full differences become factors of the rank that holds them exactly.

    Raises:
        AdapterError: the file cannot be used.
    """
    lora = read_weights(path)
    modules = in_shape(lora.modules)
    write_weights(out, modules, lora.metadata, file_format, None if dtype is None else DTYPES[dtype])
    return Written(out, len(modules), tuple(f"{path}: {note}" for note in lora.notes))


def resize_file(
    path: Path, out: Path, file_format: Format, *, rank: int | None, energy: float | None, dtype: str | None = None
) -> Written:
    """Write the nearest LoRA of at most `rank`, or of the rank that `energy` needs; as `resize`.

    Raises:
        AdapterError: the file cannot be used.
    """
    lora = read_weights(path)
    modules, loss = resize(in_shape(lora.modules), rank, energy)
    source = json.dumps({"file": path.name, "sha256": sha256_file(path), "energy": round(loss.energy, 6)})
    metadata = {**lora.metadata, **network_metadata(modules), "anime_lora.resized_from": source}
    write_weights(out, modules, metadata, file_format, None if dtype is None else DTYPES[dtype])
    return Written(out, len(modules), tuple(f"{path}: {note}" for note in lora.notes), loss)


def text_width(modules: Mapping[str, ModuleWeights]) -> int | None:
    """Width of the text that the UNet's cross-attention reads; None where the LoRA leaves it alone."""
    return next((one.down.shape[1] for path, one in modules.items() if path.endswith("attn2.to_k")), None)


def in_shape(modules: Mapping[str, ModuleWeights]) -> Modules:
    """Factors that LyCORIS stores flat, in the shape of their convolution: 3x3 by name, 1x1 in 1.x bases."""
    projections = ("proj_in", "proj_out") if text_width(modules) == 768 else ()
    return {path: _in_shape(path, weights, projections) for path, weights in modules.items()}


def _in_shape(path: str, weights: ModuleWeights, projections: tuple[str, ...]) -> ModuleWeights:
    side = 3 if path.endswith(THREE_BY_THREE) else 1 if path.endswith(("conv_shortcut", *projections)) else None
    if side is None or weights.down.dim() != 2 or weights.down.shape[1] % side**2:
        return weights
    down: torch.Tensor = weights.down.reshape(weights.rank, -1, side, side)
    return replace(weights, down=down, up=weights.up.reshape(-1, weights.rank, 1, 1))

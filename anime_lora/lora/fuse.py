"""A full base with LoRAs in its weights, as a diffusers folder that any program loads; and a LoRA out of two bases."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anime_lora.diffusion.base_model import WEIGHTS, load_pipeline, weight_files
from anime_lora.errors import AdapterError, OutputError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.arithmetic import Approximation, Modules
from anime_lora.lora.base_fit import PARTS, BaseShapes, fit, shapes_of_base
from anime_lora.lora.formats.names import canonical
from anime_lora.lora.metadata import stated_prediction
from anime_lora.lora.weights import LoraWeights, read_weights
from anime_lora.lora.write import DTYPES


def fuse(parts: Sequence[tuple[Path, float]], base: Path, out: Path, dtype: str = "fp32") -> tuple[str, ...]:
    """Write `base` with Σ weight · ΔW in its weights as a diffusers folder, in one dtype; returns notes for people.

    Raises:
        AdapterError: a LoRA cannot be used or does not fit; OutputError: `out` is there already.
    """
    if out.exists():
        raise OutputError(f"{out} is there already: choose another folder, or delete it")
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=_parent(out)) as work:
        folder = Path(work, "base")
        if base.is_file():
            load_pipeline(base).save_pretrained(folder, safe_serialization=True)
        else:
            shutil.copytree(base, folder)
        shapes = shapes_of_base(folder)
        loras = [(read_weights(path), weight, path) for path, weight in parts]
        changes = [(fit(lora.modules, BaseShapes(str(base), shapes.shapes), str(path)), w) for lora, w, path in loras]
        for part in WEIGHTS:
            _rewrite(folder, part, changes, DTYPES[dtype])
        _set_prediction(folder, [lora for lora, _, _ in loras])
        folder.rename(out)
    return tuple(f"{path}: {note}" for lora, _, path in loras for note in lora.notes)


def _parent(out: Path) -> Path:
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def _rewrite(folder: Path, part: str, changes: Sequence[tuple[Modules, float]], dtype: torch.dtype) -> None:
    """Change the weights of one component and give them one dtype, file by file."""
    for file in weight_files(folder, part):
        tensors = load_file(file)
        for name, value in tensors.items():
            if value.is_floating_point():
                weight = value.float()
                for modules, factor in changes:
                    module = modules.get(f"{part}.{name.removesuffix('.weight')}")
                    weight = weight if module is None else fused(weight, module, factor)
                tensors[name] = weight.to(dtype)
        save_file(tensors, file, {"format": "pt"})
    _say_dtype(folder / part / "config.json", dtype)


def _say_dtype(config: Path, dtype: torch.dtype) -> None:
    """transformers loads a text encoder in the dtype that its config names."""
    values = json.loads(config.read_text(encoding="utf-8"))
    for key in ("dtype", "torch_dtype"):
        if key in values:
            values[key] = str(dtype).removeprefix("torch.")
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def fused(weight: Tensor, module: ModuleWeights, factor: float) -> Tensor:
    """The base's weight with `factor` · ΔW; of a DoRA with its lengths (Liu et al. 2024), as PEFT applies them."""
    changed: Tensor = weight + factor * module.delta().reshape(weight.shape)
    if module.magnitude is None:
        return changed
    lengths = changed.flatten(1).norm(dim=1)
    return changed.mul((module.magnitude.float() / lengths).reshape(-1, *[1] * (weight.dim() - 1)))


def _set_prediction(folder: Path, loras: Sequence[LoraWeights]) -> None:
    """Let the scheduler say what the UNet now predicts, where a LoRA was trained to predict something else."""
    stated = {stated_prediction(lora.metadata) for lora in loras} - {None}
    file = folder / "scheduler" / "scheduler_config.json"
    if len(stated) == 1 and file.is_file():
        config = json.loads(file.read_text(encoding="utf-8"))
        config["prediction_type"] = stated.pop()
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Extracted:
    """A LoRA that was found between two bases."""

    modules: Modules
    loss: Approximation
    left_out: tuple[str, ...]
    """Weights that differ too and that no LoRA holds: embeddings, norms, biases."""

    def notes(self) -> tuple[str, ...]:
        """What a person should know of them."""
        if not self.left_out:
            return ()
        return (f"{len(self.left_out)} weights differ that no LoRA holds, e.g. {self.left_out[0]}",)


def extract(tuned: Path, base: Path, rank: int) -> Extracted:
    """The LoRA of at most `rank` that is nearest to the difference of two bases.

    Raises:
        AdapterError: they are of different shapes, or do not differ.
    """
    modules: Modules = {}
    left_out: list[str] = []
    energies, errors = [], []
    for name, before, after in _pairs(tuned, base):
        delta = (after.float() - before.float()).double()
        if not delta.any():
            continue
        path = canonical(name.removesuffix(".weight"))
        if before.dim() not in {2, 4} or path is None or "embedding" in name.replace("time_embedding", ""):
            left_out.append(name)
            continue
        modules[path], energy, error = _nearest(delta, rank)
        energies.append(energy)
        errors.append(error)
    if not modules:
        raise AdapterError(f"{tuned} and {base} have the same weights: there is no LoRA to extract")
    retained, total = (sum(values) for values in zip(*energies, strict=True))
    ranks = [one.rank for one in modules.values()]
    loss = Approximation(retained / total, max(errors), min(ranks), max(ranks))
    return Extracted(dict(sorted(modules.items())), loss, tuple(left_out))


def _nearest(delta: Tensor, rank: int) -> tuple[ModuleWeights, tuple[float, float], float]:
    """The nearest factors of at most `rank`, (their energy, all of it), and the largest error of an entry.

    By the eigenvectors of ΔWΔWᵀ in fp64, many times faster than the singular values of a wide matrix, and as good to
    half of fp64's digits.
    """
    rows = delta.flatten(1)
    wide = rows.shape[0] <= rows.shape[1]
    matrix = rows if wide else rows.T
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    rank = min(rank, len(squares))
    left = vectors[:, -rank:]
    right = left.T @ matrix
    # the root of each singular value to both sides, so that neither leaves fp16's range
    root = right.norm(dim=1).clamp_min(1e-30).sqrt()
    left, right = left * root, right / root[:, None]
    up, down = (left, right) if wide else (right.T, left.T)
    rest = rows - up @ down
    shape = [1] * (delta.dim() - 2)
    weights = ModuleWeights(
        down.float().reshape(rank, *delta.shape[1:]).contiguous(),
        up.float().reshape(-1, rank, *shape).contiguous(),
        1.0,
    )
    total = float(rows.square().sum())
    return weights, (total - float(rest.square().sum()), total), float(rest.abs().max())


def _pairs(tuned: Path, base: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Every weight of the UNet and the text encoder, by name, before and after.

    Raises:
        AdapterError: the two have other weights or shapes.
    """
    for part in PARTS:
        before, after = _weights(base, part), _weights(tuned, part)
        differing = sorted(before.keys() ^ after.keys())
        differing += [name for name in before.keys() & after.keys() if before[name].shape != after[name].shape]
        if differing:
            raise AdapterError(
                f"{tuned} was not fine-tuned from {base}: {len(differing)} weights are others, e.g. {differing[0]}"
            )
        yield from ((name, before[name], after[name]) for name in before)


def _weights(base: Path, part: str) -> Mapping[str, Tensor]:
    """The weights of one component by `part.name`, of a folder or a single file."""
    if base.is_file():
        state = getattr(load_pipeline(base), part).state_dict()
    else:
        state = {name: value for file in weight_files(base, part) for name, value in load_file(file).items()}
    return {f"{part}.{name.removeprefix('text_model.')}": value for name, value in state.items()}

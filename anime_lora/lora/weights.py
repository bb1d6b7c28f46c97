"""A LoRA file of any format as factors and scales by module: the door for all that uses a LoRA.

Names become diffusers' module paths (`formats.names`), every format one pair of factors (`formats.low_rank`), and every
file that cannot be used is refused in one sentence that says what it is and what to do.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from anime_lora.diffusion.weight_file import Header, read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.architecture import READ_HERE, architecture
from anime_lora.lora.formats.low_rank import to_low_rank
from anime_lora.lora.formats.lycoris import AdaptedModule, adapted_modules
from anime_lora.lora.formats.names import canonical
from anime_lora.lora.inspect import LoraFile, inspect, json_object

EMBEDDING = re.compile(r"^bundle_emb\.|^emb_params$|\.emb_params$|string_to_param")
"""Tensors of an embedding (textual inversion) that some trainers put beside the LoRA."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PEFT_CONFIG = "lora_adapter_metadata"
"""Metadata key under which diffusers keeps PEFT's config; PEFT itself has a file beside the weights."""
PEFT_FILE = "adapter_config.json"


@dataclass(frozen=True)
class LoraWeights:
    """What a LoRA file changes."""

    modules: dict[str, ModuleWeights]
    """By path: `unet.…` and `text_encoder.text_model.…`, sorted; factors in the file's dtype where it has them."""
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a person should know: sentences about what was ignored or cannot be known."""


def read_weights(path: Path) -> LoraWeights:
    """Read a LoRA file, whoever made it.

    Raises:
        AdapterError: it is no LoRA, damaged, for another architecture, or of a kind that is no pair of factors.
    """
    file, header = inspect(path), read_header(path)
    _check_usable(file, header)
    tensors = {name: _plain(value) for name, value in load_file(path).items()}
    modules = adapted_modules(tensors)[0]
    alphas = _Alphas(header, path)
    weights: dict[str, ModuleWeights] = {}
    try:
        for module in modules:
            name = str(canonical(module.path))
            read = to_low_rank(module, tensors, alphas.of(module, name, tensors))
            if name in weights:
                raise AdapterError(f"two modules are {name}: the file holds parts of two LoRAs")
            weights[name] = read
    except AdapterError as error:
        raise AdapterError(f"{path}: {error}") from error
    return LoraWeights(dict(sorted(weights.items())), header.metadata, (*_ignored(file), *alphas.notes()))


def _plain(value: Tensor) -> Tensor:
    """In a dtype that models compute in: fp64, fp8 and integers become fp32."""
    return value if value.dtype in DTYPES else value.float()


def _check_usable(file: LoraFile, header: Header) -> None:
    """Check that a file is for a UNet of Stable Diffusion 1.x or 2.x (or of their kind), whole and of factors."""
    made_for = architecture(header.tensors)
    if made_for is not None and made_for not in READ_HERE:
        raise AdapterError(
            f"{file.path} is a LoRA for {made_for}, and this works with {READ_HERE[0]} and 2.x: take one made for them"
        )
    unknown = [module.path for module in file.modules if canonical(module.path) is None]
    if unknown:
        raise AdapterError(
            f"{file.path} is for another model: {len(unknown)} of its {len(file.modules)} modules are none of a Stable "
            f"Diffusion UNet or text encoder, e.g. {unknown[0]}; take a LoRA made for {READ_HERE[0]}"
        )
    biases = [name for name in header.tensors if name.endswith((".diff_b", ".w_norm", ".b_norm", ".lora_B.bias"))]
    if biases:
        raise AdapterError(
            f"{file.path} also changes {len(biases)} biases or norms, e.g. {biases[0]}, which no low-rank factors can "
            "hold: merge it into a checkpoint with the program it was made with"
        )
    if file.not_finite:
        raise AdapterError(
            f"{file.path} holds NaN or infinity in {len(file.not_finite)} of {len(file.modules)} modules, e.g. "
            f"{file.not_finite[0]}: its training diverged or it is damaged; download it again or train anew"
        )


def _ignored(file: LoraFile) -> Iterator[str]:
    embeddings = [name for name in file.other_tensors if EMBEDDING.search(name)]
    others = [name for name in file.other_tensors if name not in embeddings]
    if embeddings:
        yield f"it carries an embedding beside the LoRA ({embeddings[0]}), which is ignored: extract it to use its word"
    if others:
        yield f"{len(others)} tensors that belong to no LoRA are ignored, e.g. {others[0]}"


class _Alphas:
    """Where a file states its alphas: beside the factors, in PEFT's config, or nowhere."""

    def __init__(self, header: Header, path: Path) -> None:
        self.metadata = header.metadata
        self.config = json_object(header.metadata.get(PEFT_CONFIG, "")) or _beside(path)
        self.unknown: list[int] = []
        """Ranks of the modules whose alpha is stated nowhere."""

    def of(self, module: AdaptedModule, name: str, tensors: Mapping[str, Tensor]) -> float | None:
        """The alpha that is divided by the rank; None where the file states none."""
        stated = tensors.get(f"{module.path}.alpha")
        if stated is not None:
            if stated.numel() != 1 or not stated.isfinite().all():
                raise AdapterError(
                    f"the alpha of {module.path} is {stated.flatten().tolist()[:3]} instead of one number"
                )
            return float(stated)
        rank_tensor = module.rank_tensor()
        if rank_tensor is None:
            return None
        rank = tensors[rank_tensor].shape[0]
        alpha = peft_alpha(self.config, name, rank)
        if alpha is None:
            self.unknown.append(rank)
        return alpha

    def notes(self) -> Iterator[str]:
        """A warning where the scale cannot be known."""
        if not self.unknown:
            return
        hint, stated = "", self.metadata.get("ss_network_alpha", "")
        try:
            weight = float(stated) / self.unknown[0]
            hint = f"; its metadata speak of alpha {stated}: try weight {weight:g}" if weight != 1 else ""
        except ValueError:
            pass
        yield (
            f"it does not say its alpha, so that its true strength cannot be known: read at alpha = rank "
            f"({self.unknown[0]}), as other programs do; if it was trained with another alpha, use weight "
            f"alpha / {self.unknown[0]}{hint}"
        )


def peft_alpha(config: Mapping[str, Any], name: str, rank: int) -> float | None:
    """The alpha of one module by PEFT's config, to be divided by the rank (rsLoRA's is written so); None: not said."""
    part, inner = name.split(".", maxsplit=1)
    prefix = f"{part}." if f"{part}.lora_alpha" in config else ""
    alpha = config.get(f"{prefix}lora_alpha")
    patterns = config.get(f"{prefix}alpha_pattern")
    for key, value in patterns.items() if isinstance(patterns, dict) else ():
        if _matches(key, inner):
            alpha = value
    if not isinstance(alpha, int | float):
        return None
    return float(alpha) * (rank**0.5 if config.get(f"{prefix}use_rslora") else 1.0)


def _matches(pattern: str, path: str) -> bool:
    """Whether a pattern of PEFT is for the module at `path`, as PEFT decides it: a regular expression for the end."""
    try:
        return re.match(rf"(.*\.)?({pattern})$", path) is not None
    except re.error:
        return False


def _beside(path: Path) -> dict[str, Any]:
    """The config that PEFT saves beside its weights; empty where there is none."""
    file = path.parent / PEFT_FILE
    return json_object(file.read_text("utf-8", "replace")) if file.is_file() else {}


def parse_weighted(text: str) -> tuple[Path, float]:
    """`FILE` or `FILE:WEIGHT` as the file and its weight, 1 where none is said.

    Raises:
        AdapterError: the weight is no number.
    """
    name, colon, weight = text.rpartition(":")
    if not colon or Path(text).is_file() or "/" in weight or "\\" in weight:
        return Path(text), 1.0
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AdapterError(f"{text}: the weight after the colon is {weight!r}, and has to be a number such as 0.7")
    return Path(name), value

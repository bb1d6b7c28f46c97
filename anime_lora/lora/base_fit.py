"""Whether a LoRA fits a base: the shapes of the base's weights, and the LoRA's factors beside them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from anime_lora.diffusion.base_model import load_pipeline, weight_files
from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.architecture import WIDTHS
from anime_lora.lora.formats.names import model_name

PARTS = ("unet", "text_encoder")


@dataclass(frozen=True)
class BaseShapes:
    """The shapes of a base's linear layers and convolutions, by module path as the base has it."""

    name: str
    """For messages."""
    shapes: dict[str, tuple[int, ...]]
    """(out, in) or (out, in, k, k)."""

    @property
    def architecture(self) -> str:
        """What kind of base it is, by the width of the text its UNet reads."""
        width = next((shape[1] for path, shape in self.shapes.items() if path.endswith("attn2.to_k")), None)
        return WIDTHS.get(width, f"reads text of width {width}") if width is not None else "has no cross-attention"


def shapes_of_base(path: Path) -> BaseShapes:
    """The shapes of the base at `path`, as `locate` gives it: a folder's from its files' headers alone.

    Raises:
        BaseModelError: it cannot be read.
    """
    if path.is_file():
        pipe = load_pipeline(path)
        return shapes_of_models(pipe.unet, pipe.text_encoder, str(path))
    shapes = {
        f"{part}.{name.removesuffix('.weight')}": entry.shape
        for part in PARTS
        for file in weight_files(path, part)
        for name, entry in read_header(file).tensors.items()
        if name.endswith(".weight") and len(entry.shape) in {2, 4}
    }
    return BaseShapes(str(path), shapes)


def shapes_of_models(unet: nn.Module, text_encoder: nn.Module, name: str) -> BaseShapes:
    """The shapes of loaded models; they may carry LoRAs already."""
    shapes = {}
    for part, model in zip(PARTS, (unet, text_encoder), strict=True):
        for path, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in path:
                shapes[f"{part}.{path.removesuffix('.base_layer')}"] = tuple(module.weight.shape)
    return BaseShapes(name, shapes)


def fit(modules: Mapping[str, ModuleWeights], base: BaseShapes, file: str) -> dict[str, ModuleWeights]:
    """The modules by the base's own paths, with factors in the shape of its weights.

    Raises:
        AdapterError: the base lacks modules, or its weights have other shapes; says which base the LoRA is for.
    """
    paths = frozenset(base.shapes)
    fitted, wrong = {}, []
    for path, weights in modules.items():
        name = model_name(path, paths)
        shaped = None if name is None else _shaped(weights, base.shapes[name])
        if name is None:
            wrong.append(f"{path}, which the base lacks")
        elif shaped is None:
            out, reads = weights.up.shape[0], math.prod(weights.down.shape[1:])
            shape = base.shapes[name]
            wrong.append(f"{path} of {reads} -> {out}, which is {math.prod(shape[1:])} -> {shape[0]} in the base")
        else:
            fitted[name] = shaped
    if wrong:
        raise AdapterError(
            f"{file} was made for another base{_made_for(modules)}: {len(wrong)} of {len(modules)} modules do not fit "
            f"{base.name} ({base.architecture}), e.g. {wrong[0]}; take a LoRA trained on this base, or set base.model "
            "to the LoRA's"
        )
    return fitted


def _shaped(weights: ModuleWeights, shape: tuple[int, ...]) -> ModuleWeights | None:
    """Factors in the form of a weight of `shape`; None where they do not fit.

    LyCORIS stores a convolution's factors flat, and 1x1 convolutions are linear layers in some bases.
    """
    if weights.up.shape[0] != shape[0] or math.prod(weights.down.shape[1:]) != math.prod(shape[1:]):
        return None
    if weights.down.dim() == len(shape) == 4 and weights.down.shape[1:] != shape[1:]:
        return None
    rank = weights.down.shape[0]
    down, up = weights.down.reshape(rank, *shape[1:]), weights.up.reshape(-1, rank, *[1] * (len(shape) - 2))
    return replace(weights, down=down, up=up)


def _made_for(modules: Mapping[str, ModuleWeights]) -> str:
    """` (Stable Diffusion 2.x)` where the width of the text tells it."""
    width = next((one.down.shape[1] for path, one in modules.items() if path.endswith("attn2.to_k")), None)
    known = WIDTHS.get(width) if width is not None else None
    return f" ({known})" if known else ""

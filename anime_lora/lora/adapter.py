"""PEFT adapters on the UNet and, when asked for, the text encoder; fp32 whatever the base's dtype."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import CLIPTextModel

from anime_lora.config.train import Train
from anime_lora.diffusion.rng import generator
from anime_lora.errors import AdapterError

ADAPTER = "default"
"""PEFT's name for our adapter in a model that may carry several."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
TARGETS = {
    "attn": ATTENTION,
    "attn+ff": ATTENTION + FEED_FORWARD,
    "all-linear+conv": ATTENTION + FEED_FORWARD + CONVOLUTION,
}
"""Names of the UNet's modules that each `train.target` adapts."""
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TEXT_ENCODER = {
    "attn": TEXT_ATTENTION,
    "attn+ff": (*TEXT_ATTENTION, "fc1", "fc2"),
    "all-linear+conv": (*TEXT_ATTENTION, "fc1", "fc2"),
}
"""The same for the text encoder. kohya's own trainer adapts attention and feed-forward: 72 modules of SD 1.5's."""
TENSORS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight")
"""PEFT's names of an adapted module's tensors: down, up, and DoRA's length of each output."""


@dataclass(frozen=True)
class ModuleWeights:
    """The adapter of one module, as a file or a model holds it."""

    down: Tensor
    """A: (rank, in), of a convolution (rank, in, k, k)."""
    up: Tensor
    """B: (out, rank), of a convolution (out, rank, 1, 1)."""
    scale: float
    magnitude: Tensor | None = None
    """DoRA's length of each output, (out,); None without DoRA."""

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return int(self.down.shape[0])

    @property
    def alpha(self) -> float:
        """What a reader divides by the rank to get the scale, as fp32 holds it."""
        return float(torch.tensor(self.scale * self.rank, dtype=torch.float32))

    def delta(self) -> Tensor:
        """ΔW = scale · B·A; linear (out, in), or convolution (out, in, k, k)."""
        product = self.up.flatten(1).float() @ self.down.flatten(1).float()
        return self.scale * product.reshape(self.up.shape[0], *self.down.shape[1:])


def scale(rank: int, alpha: float, rslora: bool) -> float:
    """The factor before B·A: alpha/rank, or alpha/√rank (rsLoRA, Kalajdzievski 2023)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def config(settings: Train, targets: tuple[str, ...]) -> LoraConfig:
    """PEFT's description of the adapter."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(targets),
        init_lora_weights=True,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
    )


def attach(unet: UNet2DConditionModel, text_encoder: CLIPTextModel, settings: Train) -> None:
    """Freeze both and add adapters that change nothing yet (B = 0) and follow from `settings.seed`."""
    for module in (unet, text_encoder):
        module.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):  # PEFT samples from the global generator before we sample again below
        unet.add_adapter(config(settings, TARGETS[settings.target]), adapter_name=ADAPTER)
        initialise(unet, settings.seed)
        if settings.text_encoder_learning_rate is not None:
            text_encoder.add_adapter(config(settings, TEXT_ENCODER[settings.target]), adapter_name=ADAPTER)
            initialise(text_encoder, settings.seed)


def initialise(module: nn.Module, seed: int) -> None:
    """Kaiming-uniform A and zero B, in fp32, each A a function of (seed, module path) alone."""
    for name, layer in layers(module):
        # PEFT creates the factors in the base's dtype; bf16 steps of 1e-4 would be lost in rounding
        down, up = layer.lora_A[ADAPTER].float(), layer.lora_B[ADAPTER].float()
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5), generator=generator("lora", seed, name))
        nn.init.zeros_(up.weight)
        if ADAPTER in layer.lora_magnitude_vector:
            layer.lora_magnitude_vector[ADAPTER].float()
        # What peft.helpers.disable_input_dtype_casting sets: autocast does the casting, so that the projections of one
        # input share one saved copy of it instead of an fp32 copy each. In fp32 there is nothing to cast.
        layer.cast_input_dtype_enabled = False


def layers(module: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Every module that carries the adapter, with its path."""
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer) and ADAPTER in layer.lora_A:
            yield name, layer


def trainables(module: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, by name, in the module's order: `<module path>.lora_A.weight` and the like."""
    return {
        name.replace(f".{ADAPTER}", ""): parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def adapter_state(unet: nn.Module, text_encoder: nn.Module) -> dict[str, Tensor]:
    """A copy of the adapters on the CPU in fp32, by names that start with `unet.` or `text_encoder.`."""
    return {
        name: parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, parameter in _named_trainables(unet, text_encoder).items()
    }


@torch.no_grad()
def load_adapter_state(unet: nn.Module, text_encoder: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a copy made by `adapter_state` back.

    Raises:
        AdapterError: names or shapes differ from the adapters there.
    """
    parameters = _named_trainables(unet, text_encoder)
    if parameters.keys() != state.keys():
        wrong = sorted(parameters.keys() ^ state.keys())
        raise AdapterError(f"the adapter has other modules than the base offers, e.g. {wrong[0]} ({len(wrong)} differ)")
    for name, parameter in parameters.items():
        if parameter.shape != state[name].shape:
            raise AdapterError(f"{name} has shape {tuple(state[name].shape)}, expected {tuple(parameter.shape)}")
        parameter.copy_(state[name])


def _named_trainables(unet: nn.Module, text_encoder: nn.Module) -> dict[str, nn.Parameter]:
    parts = (("unet", unet), ("text_encoder", text_encoder))
    return {f"{part}.{name}": p for part, module in parts for name, p in trainables(module).items()}


def split_name(name: str) -> tuple[str, str]:
    """A tensor's module path and which of `TENSORS` it is: `…to_q.lora_A.weight` as (`…to_q`, `lora_A.weight`).

    Raises:
        AdapterError: it is none of them.
    """
    for tensor in TENSORS:
        if name.endswith(f".{tensor}"):
            return name.removesuffix(f".{tensor}"), tensor
    raise AdapterError(f"{name} is no LoRA tensor")


def module_weights(state: Mapping[str, Tensor], factor: float) -> dict[str, ModuleWeights]:
    """The adapter of each module of a copy made by `adapter_state`, by module path; `factor` is the scale of all."""
    down, up, magnitude = TENSORS
    weights = {}
    for path in sorted({split_name(name)[0] for name in state}):
        lengths = state.get(f"{path}.{magnitude}")
        weights[path] = ModuleWeights(
            state[f"{path}.{down}"], state[f"{path}.{up}"], factor, None if lengths is None else lengths.flatten()
        )
    return weights

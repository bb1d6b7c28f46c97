"""PEFT adapters on the UNet and, when asked, the text encoder; fp32 whatever the base's dtype."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from anime_lora.config.train import Train
from anime_lora.diffusion.rng import generator
from anime_lora.errors import AdapterError

ADAPTER = "default"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
TARGETS = {
    "attn": ATTENTION,
    "attn+ff": ATTENTION + FEED_FORWARD,
    "all-linear+conv": ATTENTION + FEED_FORWARD + CONVOLUTION,
}
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TEXT_ENCODER = {
    "attn": TEXT_ATTENTION,
    "attn+ff": (*TEXT_ATTENTION, "fc1", "fc2"),
    "all-linear+conv": (*TEXT_ATTENTION, "fc1", "fc2"),
}
"""What kohya's own trainer adapts in the text encoder is attention and feed-forward: 72 modules of SD 1.5's."""


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


def attach(unet: Any, text_encoder: Any, settings: Train) -> None:
    """Freeze both and add adapters that change nothing yet (B = 0) and follow from `settings.seed`."""
    for module in (unet, text_encoder):
        module.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):  # PEFT samples from the global generator before we sample again below
        unet.add_adapter(config(settings, TARGETS[settings.target]), adapter_name=ADAPTER)
        initialise(unet, settings.seed)
        if settings.text_encoder_learning_rate is not None:
            text_encoder.add_adapter(config(settings, TEXT_ENCODER[settings.target]), adapter_name=ADAPTER)
            initialise(text_encoder, settings.seed)


def layers(module: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Every module that carries the adapter, with its path."""
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer) and ADAPTER in layer.lora_A:
            yield name, layer


def initialise(module: nn.Module, seed: int) -> None:
    """Kaiming-uniform A and zero B, in fp32, each A a function of (seed, module path) alone."""
    for name, layer in layers(module):
        down, up = layer.lora_A[ADAPTER].float(), layer.lora_B[ADAPTER].float()
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5), generator=generator("lora", seed, name))
        nn.init.zeros_(up.weight)
        if ADAPTER in layer.lora_magnitude_vector:
            layer.lora_magnitude_vector[ADAPTER].float()
        # What peft.helpers.disable_input_dtype_casting sets: autocast does the casting, so that the projections of one
        # input share one saved copy of it instead of an fp32 copy each. In fp32 there is nothing to cast.
        layer.cast_input_dtype_enabled = False


def trainables(module: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, by name, in the module's order: `<module path>.lora_A.weight` and the like."""
    return {
        name.replace(f".{ADAPTER}", ""): parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def adapter_state(unet: nn.Module, text_encoder: nn.Module) -> dict[str, Tensor]:
    """A copy of the adapters on the CPU in fp32, by names that start with `unet.` or `text_encoder.`."""
    parts = (("unet", unet), ("text_encoder", text_encoder))
    return {
        f"{part}.{name}": parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        for part, module in parts
        for name, parameter in trainables(module).items()
    }


@torch.no_grad()
def load_adapter_state(unet: nn.Module, text_encoder: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a copy made by `adapter_state` back.

    Raises:
        AdapterError: names or shapes differ from the adapters there.
    """
    here = {f"unet.{name}": p for name, p in trainables(unet).items()}
    here |= {f"text_encoder.{name}": p for name, p in trainables(text_encoder).items()}
    if here.keys() != state.keys():
        wrong = sorted(here.keys() ^ state.keys())
        raise AdapterError(f"the adapter has other modules than the base offers, e.g. {wrong[0]} ({len(wrong)} differ)")
    for name, parameter in here.items():
        if parameter.shape != state[name].shape:
            raise AdapterError(f"{name} has shape {tuple(state[name].shape)}, expected {tuple(parameter.shape)}")
        parameter.copy_(state[name])


def scale(rank: int, alpha: float, rslora: bool) -> float:
    """The factor before B·A: alpha/rank, or alpha/√rank (rsLoRA, Kalajdzievski 2023)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def delta(down: Tensor, up: Tensor, factor: float) -> Tensor:
    """ΔW = factor · B·A; linear (out, in), or convolution (out, in, k, k)."""
    product = up.flatten(1).float() @ down.flatten(1).float()
    return factor * product.reshape(up.shape[0], *down.shape[1:])

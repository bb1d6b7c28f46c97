"""Optimizers from kept libraries, and the learning rate as a function of the step."""

import math
from typing import Any

import torch
from torch import nn

from anime_lora.config.train import Train
from anime_lora.errors import TrainingError


def build_optimizer(
    settings: Train, unet: dict[str, nn.Parameter], text_encoder: dict[str, nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer over the UNet's adapters and, with their own rate, the text encoder's; each by name.

    Raises:
        TrainingError: the optimizer's library cannot work here, or the rate does not suit it.
    """
    decay = settings.weight_decay
    groups = _groups(unet, settings.learning_rate, decay)
    groups += _groups(text_encoder, settings.text_encoder_learning_rate, decay)
    if settings.optimizer == "adamw":
        # one kernel for all weights; torch has it for CPU and CUDA
        fused = all(p.device.type != "mps" for p in unet.values())
        return torch.optim.AdamW(groups, weight_decay=decay, fused=fused)
    return {"adafactor": _adafactor, "prodigy": _prodigy, "adamw8bit": _adamw8bit}[settings.optimizer](groups, decay)


def _groups(named: dict[str, nn.Parameter], rate: float | None, decay: float) -> list[dict[str, Any]]:
    """Parameter groups of one rate: factors decay towards no change; DoRA's lengths, where zero would erase the base's
    weights, do not decay.
    """
    lengths = [p for name, p in named.items() if "lora_magnitude_vector" in name]
    factors = [p for name, p in named.items() if "lora_magnitude_vector" not in name]
    groups = [{"params": factors, "weight_decay": decay}, {"params": lengths, "weight_decay": 0.0}]
    return [{**group, "lr": rate, "base_lr": rate} for group in groups if group["params"]]


def _adafactor(groups: list[dict[str, Any]], decay: float) -> torch.optim.Optimizer:
    """Adafactor (Shazeer & Stern 2018) at the given rate: scaled by a weight's own size, B = 0 would hardly move."""
    from transformers.optimization import Adafactor

    factored: torch.optim.Optimizer = Adafactor(
        groups,
        lr=groups[0]["lr"],
        weight_decay=decay,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )
    return factored


def _prodigy(groups: list[dict[str, Any]], decay: float) -> torch.optim.Optimizer:
    """Prodigy (Mishchenko & Defazio 2023); its rate is a factor of the one it estimates."""
    from prodigyopt import Prodigy

    if any(group["lr"] < 0.1 for group in groups):
        raise TrainingError("train.optimizer prodigy finds its own rate: set train.learning_rate to 1.0 (0.1 to 1)")
    # both as https://github.com/konstmish/prodigy recommends: for warm-up, and for diffusion models
    prodigy: torch.optim.Optimizer = Prodigy(
        groups, lr=1.0, weight_decay=decay, safeguard_warmup=True, use_bias_correction=True
    )
    return prodigy


def _adamw8bit(groups: list[dict[str, Any]], decay: float) -> torch.optim.Optimizer:
    """AdamW with 8-bit state (Dettmers et al. 2021); tensors below 4096 values keep 32 bits."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, RuntimeError, OSError) as error:
        raise TrainingError(f"train.optimizer adamw8bit: bitsandbytes does not load ({error}); use adamw") from error
    quantised: torch.optim.Optimizer = AdamW8bit(groups, weight_decay=decay)
    return quantised


def rate_factor(step: int, total: int, schedule: str, warmup: int) -> float:
    """What the learning rate is multiplied by at optimizer step `step` of 0..`total`-1."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    if schedule == "constant":
        return 1.0
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Scale every group's rate; returns the UNet's."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


class EMA:
    """An exponential moving average of the trained weights, its decay warmed up as (1+n)/(10+n) until `decay`."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.count = parameters, decay, 0
        self.shadow = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights after an optimizer step."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            shadow.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and average: once to validate the average, once more to train on."""
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            weight = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(weight)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"count": self.count, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a checkpoint's average back."""
        self.count = state["count"]
        for shadow, value in zip(self.shadow, state["shadow"], strict=True):
            shadow.copy_(value)

"""The fused LoRA layers: PEFT's values and gradients, and only where they hold."""

from collections.abc import Callable

import pytest
import torch
from diffusers.models.activations import GEGLU
from torch import Tensor

from anime_lora.training import lora


def step(run: object, fused: bool) -> dict[str, Tensor]:
    """Outputs and gradients of a batch, with adapters that are not zero; by PEFT's own forward when not `fused`."""
    models = (run.pipe.unet, run.pipe.text_encoder)  # type: ignore[attr-defined]
    for model in models:
        for name, layer in lora.layers(model):
            torch.nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(len(name)))
        for part in [] if fused else model.modules():
            vars(part).pop("forward", None)
    run.training_mode(True)  # type: ignore[attr-defined]
    batch = run.batches.of(run.visits(0)[:2])  # type: ignore[attr-defined]
    found = run.predict(batch)  # type: ignore[attr-defined]
    (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
    named = {name: p.grad for model in models for name, p in lora.trainables(model).items()}
    return {"output": found.detach(), **named}


@pytest.mark.parametrize(
    "changes", [{}, {"gradient_checkpointing": True}, {"text_encoder_learning_rate": 1e-3}], ids=str
)
def test_values_and_gradients_are_pefts(make: Callable, changes: dict) -> None:
    """Linear layers, 1x1 and 3x3 convolutions, a stride of two, alpha unlike the rank: the same but for rounding."""
    changes = {**changes, "target": "all-linear+conv", "rank": 3, "alpha": 2.0}
    ours, pefts = (step(make(**changes), fused) for fused in (True, False))
    assert any(isinstance(part, GEGLU) and "forward" in vars(part) for part in make(**changes).pipe.unet.modules())
    kinds = {type(layer.base_layer) for _, layer in lora.layers(make(**changes).pipe.unet)}
    assert kinds == {torch.nn.Linear, torch.nn.Conv2d}
    assert ours.keys() == pefts.keys()
    for name, value in pefts.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("changes", [{"dropout": 0.1}, {"dora": True}, {"precision": "bf16"}], ids=str)
def test_what_is_not_plain_keeps_pefts_forward(make: Callable, changes: dict) -> None:
    """Dropout, DoRA and casts are PEFT's business: those layers are left alone."""
    assert not any("forward" in vars(layer) for _, layer in lora.layers(make(**changes).pipe.unet))
    assert all("forward" in vars(layer) for _, layer in lora.layers(make().pipe.unet))

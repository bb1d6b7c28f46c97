"""The fused LoRA layers: PEFT's values and gradients, and only where they hold."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.activations import GEGLU
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from anime_lora.lora import adapter
from anime_lora.lora.fused_layers import fuse
from tests.support.tiny import predict, tiny_pipeline, train_settings


def is_fused(module: nn.Module) -> bool:
    """Whether a module has a forward of its own instead of its class's."""
    return "forward" in vars(module)


def unfuse(module: nn.Module) -> None:
    """Put PEFT's and diffusers' own forwards back."""
    for part in module.modules():
        vars(part).pop("forward", None)


def fill(module: nn.Module) -> None:
    """Give B something other than zero, the same in each run."""
    for name, layer in adapter.layers(module):
        nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(len(name)))


def step(trainer: Any, fused: bool) -> dict[str, Tensor]:
    """Outputs and gradients of a batch, with adapters that are not zero; by PEFT's own forward when not `fused`."""
    models = (trainer.pipe.unet, trainer.pipe.text_encoder)
    for model in models:
        fill(model)
        if not fused:
            unfuse(model)
    trainer.train_mode()
    output = predict(trainer, trainer.batches.build(trainer.epoch_groups(0)[0]))
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    gradients = {name: p.grad for model in models for name, p in adapter.trainables(model).items()}
    return {"output": output.detach(), **gradients}


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_checkpointing": True}, {"text_encoder_learning_rate": 1e-3}, {"rslora": True, "alpha": 1.0}],
    ids=str,
)
def test_values_and_gradients_are_pefts(make: Callable, changes: dict) -> None:
    """Linear layers, 1x1 and 3x3 convolutions, a stride of two, alpha unlike the rank: the same but for rounding."""
    changes = {"target": "all-linear+conv", "rank": 3, "alpha": 2.0, **changes}
    trainer = make(**changes)
    gates = [part for part in trainer.pipe.unet.modules() if isinstance(part, GEGLU)]
    layers = [layer for _, layer in adapter.layers(trainer.pipe.unet)]
    assert gates
    assert all(is_fused(part) for part in [*gates, *layers])
    assert {type(layer.base_layer) for layer in layers} == {nn.Linear, nn.Conv2d}
    ours, pefts = step(trainer, fused=True), step(make(**changes), fused=False)
    assert ours.keys() == pefts.keys()
    for name, value in pefts.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize(
    "changes", [{"dropout": 0.1}, {"dora": True}, {"precision": "bf16"}, {"compile": True}], ids=str
)
def test_what_is_not_plain_keeps_pefts_forward(make: Callable, changes: dict) -> None:
    """Dropout, DoRA and casts are PEFT's business, compiled blocks the compiler's: those layers are left alone."""
    layers = [layer for _, layer in adapter.layers(make(**changes).pipe.unet)]
    assert layers
    assert not any(is_fused(layer) for layer in layers)


def rescale(unet: Any) -> None:
    for _, layer in adapter.layers(unet):
        layer.set_scale("default", 0.5)


def add_second(unet: Any) -> None:
    """A second adapter acts beside ours."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet.add_adapter(adapter.config(train_settings(rank=3), adapter.ATTENTION), adapter_name="second")
        for part in unet.modules():
            if "second" in getattr(part, "lora_B", {}):
                nn.init.normal_(part.lora_B["second"].weight)
    unet.set_adapters(["default", "second"])


CHANGES: dict[str, Callable[[Any], object]] = {
    "none": lambda _: None,
    "scaled": rescale,
    "off": lambda unet: unet.disable_adapters(),
    "merged": lambda unet: unet.fuse_lora(),
    "second": add_second,
}


@pytest.mark.parametrize("name", CHANGES)
def test_later_changes_by_peft_hold(make: Callable, name: str) -> None:
    """Another scale, adapters off or merged, a second one: the UNet, in eval mode, does as PEFT does."""
    outputs = []
    for fused in (True, False):
        trainer = make(target="all-linear+conv")
        fill(trainer.pipe.unet)
        if not fused:
            unfuse(trainer.pipe.unet)
        CHANGES[name](trainer.pipe.unet)
        trainer.train_mode(False)
        with torch.no_grad():
            outputs.append(predict(trainer, trainer.batches.build(trainer.epoch_groups(0)[0])).clone())
    ours, pefts = outputs
    torch.testing.assert_close(ours, pefts, rtol=1e-5, atol=1e-5 * float(pefts.abs().max()))


@pytest.mark.parametrize(("side", "options"), [
    (1, {"groups": 2}), (3, {"groups": 2}), (1, {"dilation": 2}), (1, {"padding_mode": "circular"}),
    (3, {"padding_mode": "circular"}), (1, {"stride": 2}), (3, {"stride": 2}), (1, {}),
], ids=str)  # fmt: skip
def test_convolutions_of_other_kinds_are_pefts(side: int, options: dict) -> None:
    """Groups, dilation and another padding are left alone; a 1x1 convolution with a stride is no matrix product.

    Padded by 1. A wider dilated convolution PEFT adapts without its dilation, and fails.
    """
    holder = nn.Sequential(nn.Conv2d(4, 4, side, padding=1, **options))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), holder)
    x = torch.randn(1, 4, 8, 8)
    by_peft = holder(x)
    fuse(holder)
    assert is_fused(holder[0]) == (options.keys() <= {"stride"})
    torch.testing.assert_close(holder(x), by_peft)


def test_on_other_devices_nothing_is_fused() -> None:
    """The kernels called by name are known for CPU and CUDA only."""
    pipe = tiny_pipeline()
    adapter.attach(pipe.unet, pipe.text_encoder, train_settings())
    fuse(pipe.unet.to("meta"))
    assert not any(is_fused(part) for part in pipe.unet.modules())

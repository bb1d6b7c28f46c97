"""The fused LoRA layers: PEFT's values and gradients, and only where they hold."""

from collections.abc import Callable

import pytest
import torch
from diffusers.models.activations import GEGLU
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from anime_lora.lora import adapter
from anime_lora.lora.fused_layers import fuse
from tests.support.tiny import predict, tiny_pipeline, train_settings

NOT_PLAIN = [{"dropout": 0.1}, {"dora": True}, {"precision": "bf16"}, {"compile": True}]


def step(run: object, fused: bool) -> dict[str, Tensor]:
    """Outputs and gradients of a batch, with adapters that are not zero; by PEFT's own forward when not `fused`."""
    models = (run.pipe.unet, run.pipe.text_encoder)  # type: ignore[attr-defined]
    for model in models:
        for name, layer in adapter.layers(model):
            torch.nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(len(name)))
        for part in [] if fused else model.modules():
            vars(part).pop("forward", None)
    run.train_mode()  # type: ignore[attr-defined]
    found = predict(run, run.batches.build(run.epoch_groups(0)[0]))  # type: ignore[attr-defined, arg-type]
    (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
    named = {name: p.grad for model in models for name, p in adapter.trainables(model).items()}
    return {"output": found.detach(), **named}


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_checkpointing": True}, {"text_encoder_learning_rate": 1e-3}, {"rslora": True, "alpha": 1.0}],
    ids=str,
)
def test_values_and_gradients_are_pefts(make: Callable, changes: dict) -> None:
    """Linear layers, 1x1 and 3x3 convolutions, a stride of two, alpha unlike the rank: the same but for rounding."""
    changes = {"target": "all-linear+conv", "rank": 3, "alpha": 2.0, **changes}
    ours, pefts = (step(make(**changes), fused) for fused in (True, False))
    assert any(isinstance(part, GEGLU) and "forward" in vars(part) for part in make(**changes).pipe.unet.modules())
    kinds = {type(layer.base_layer) for _, layer in adapter.layers(make(**changes).pipe.unet)}
    assert kinds == {torch.nn.Linear, torch.nn.Conv2d}
    assert ours.keys() == pefts.keys()
    for name, value in pefts.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("changes", NOT_PLAIN, ids=str)
def test_what_is_not_plain_keeps_pefts_forward(make: Callable, changes: dict) -> None:
    """Dropout, DoRA and casts are PEFT's business, compiled blocks the compiler's: those layers are left alone."""
    assert not any("forward" in vars(layer) for _, layer in adapter.layers(make(**changes).pipe.unet))
    assert all("forward" in vars(layer) for _, layer in adapter.layers(make().pipe.unet))


def output(run: object, change: Callable, fused: bool) -> Tensor:
    """What the UNet says after `change`, without gradients, by PEFT's own forward when not `fused`."""
    unet = run.pipe.unet  # type: ignore[attr-defined]
    for name, layer in adapter.layers(unet):
        torch.nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(len(name)))
    for part in [] if fused else unet.modules():
        vars(part).pop("forward", None)
    change(unet)
    run.train_mode(False)  # type: ignore[attr-defined]
    with torch.no_grad():
        return predict(run, run.batches.build(run.epoch_groups(0)[0])).clone()  # type: ignore[attr-defined, arg-type]


def rescaled(unet: torch.nn.Module) -> None:
    for _, layer in adapter.layers(unet):
        layer.set_scale("default", 0.5)


def joined(unet: torch.nn.Module) -> None:
    """A second adapter acts beside ours."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet.add_adapter(adapter.config(train_settings(rank=3), adapter.ATTENTION), adapter_name="second")
        for part in unet.modules():
            if "second" in getattr(part, "lora_B", {}):
                torch.nn.init.normal_(part.lora_B["second"].weight)
    unet.set_adapters(["default", "second"])


CHANGES = {
    "none": lambda _: None,
    "scaled": rescaled,
    "off": lambda unet: unet.disable_adapters(),
    "merged": lambda unet: unet.fuse_lora(),
    "second": joined,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_peft_is_told_later_holds(make: Callable, name: str) -> None:
    """Another scale, adapters off or merged, a second one: the UNet, in eval mode, does as PEFT does."""
    found, wanted = (output(make(target="all-linear+conv"), CHANGES[name], fused) for fused in (True, False))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


OTHER_KINDS = [
    (1, {"groups": 2}), (3, {"groups": 2}), (1, {"dilation": 2}), (1, {"padding_mode": "circular"}),
    (3, {"padding_mode": "circular"}), (1, {"stride": 2}), (3, {"stride": 2}), (1, {}),
]  # fmt: skip
"""Side and options, padded by 1; a wider dilated convolution PEFT adapts without its dilation, and fails."""


@pytest.mark.parametrize(("side", "options"), OTHER_KINDS, ids=str)
def test_convolutions_of_other_kinds_are_pefts(side: int, options: dict) -> None:
    """Groups, dilation and another padding are left alone; a 1x1 convolution with a stride is no matrix product."""
    holder = torch.nn.Sequential(torch.nn.Conv2d(4, 4, side, padding=1, **options))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), holder)
    x = torch.randn(1, 4, 8, 8)
    wanted = holder(x)
    fuse(holder)
    assert ("forward" in vars(holder[0])) == (options.keys() <= {"stride"})
    torch.testing.assert_close(holder(x), wanted)


def test_on_other_devices_nothing_is_fused() -> None:
    pipe = tiny_pipeline()
    adapter.attach(pipe.unet, pipe.text_encoder, train_settings())
    fuse(pipe.unet.to("meta"))
    assert not any("forward" in vars(part) for part in pipe.unet.modules())

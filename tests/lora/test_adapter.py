"""Adapters: fp32, no-op at first, on every target, and their ΔW."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from anime_lora.errors import AdapterError
from anime_lora.lora import adapter
from anime_lora.training.batch import Batch, Example
from anime_lora.training.latent_cache import module_hash
from tests.support.tiny import predict, tiny_pipeline, train_settings

TARGETS = ["attn", "attn+ff", "all-linear+conv"]


def batch_of_two(trainer: Any) -> Batch:
    batch: Batch = trainer.batches.build([Example(0, image) for image in trainer.train_images[:2]])
    return batch


@pytest.mark.parametrize("changes", [{}, {"dora": True}, {"rslora": True}])
def test_adapter_changes_nothing_at_step_0(make: Callable, changes: dict) -> None:
    """B = 0: with fresh adapters the UNet gives what the base gives."""
    trainer = make(**changes)
    batch = batch_of_two(trainer)
    with torch.no_grad():
        predicted = predict(trainer, batch)
        plain = tiny_pipeline().unet.to(memory_format=torch.channels_last).eval()
        by_base = plain(batch.noisy, batch.timesteps, trainer.text_embeddings(batch.captions)).sample
    torch.testing.assert_close(predicted, by_base, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_reach_every_target(make: Callable, target: str, precision: str) -> None:
    """After one step B has moved everywhere, and then every A has a gradient too; all trainables are fp32."""
    trainer = make(target=target, precision=precision, text_encoder_learning_rate=1e-3)
    for _ in range(2):
        trainer.optimizer.zero_grad()
        trainer.loss(batch_of_two(trainer)).mean().backward()
        trainer.optimizer.step()
    named = {**adapter.trainables(trainer.pipe.unet), **adapter.trainables(trainer.pipe.text_encoder)}
    assert all(p.dtype == torch.float32 for p in named.values())
    dead = [name for name, p in named.items() if p.grad is None or not p.grad.any()]
    assert not dead
    suffixes = {name for name in adapter.TARGETS[target] if "samplers" not in name and name != "conv_shortcut"}
    assert all(any(f"{suffix}.lora_A" in name for name in named) for suffix in suffixes)


def test_base_is_held_in_its_dtype_and_never_changes(make: Callable) -> None:
    """With bf16 the frozen weights are bf16, with no fp32 copy; training steps leave every one as it was."""
    trainer = make(precision="bf16")
    frozen = {name: p for name, p in trainer.pipe.unet.named_parameters() if not p.requires_grad}
    assert {p.dtype for p in frozen.values()} == {torch.bfloat16}
    before = {name: p.detach().clone() for name, p in frozen.items()}
    text = module_hash(trainer.pipe.text_encoder)
    trainer.loss(batch_of_two(trainer)).mean().backward()
    trainer.optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in frozen.items())
    assert all(p.grad is None for p in frozen.values())
    assert module_hash(trainer.pipe.text_encoder) == text


def test_weights_follow_from_the_seed_alone() -> None:
    """The same seed gives the same A whatever the global generator, and another seed another one."""
    states = []
    for noise, seed in ((1, 1), (2, 1), (1, 2)):
        pipe = tiny_pipeline()
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        adapter.attach(pipe.unet, pipe.text_encoder, train_settings(seed=seed))
        assert torch.equal(before, torch.get_rng_state())
        states.append(adapter.adapter_state(pipe.unet, pipe.text_encoder))
    name = next(key for key in states[0] if "lora_A" in key)
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_init_is_kaiming_as_pefts_default(make: Callable) -> None:
    """A is uniform within 1/√fan_in (kaiming_uniform with a=√5)."""
    trainer = make(target="attn", rank=8)
    for _, layer in adapter.layers(trainer.pipe.unet):
        bound = 1 / math.sqrt(layer.in_features)
        weight = layer.lora_A["default"].weight.detach()
        assert float(weight.abs().max()) <= bound
        assert float(weight.abs().max()) > 0.8 * bound


def test_state_survives_a_round_trip_and_a_foreign_one_is_refused(make: Callable) -> None:
    """What adapter_state gives can be put back; another rank or target is an AdapterError naming the tensor."""
    trainer = make(rank=2)
    state = {name: torch.randn_like(value) for name, value in trainer.adapter().items()}
    adapter.load_adapter_state(trainer.pipe.unet, trainer.pipe.text_encoder, state)
    assert all(torch.equal(state[name], value) for name, value in trainer.adapter().items())
    with pytest.raises(AdapterError, match=r"has shape \(4, "):
        other = {n: torch.randn(4, *v.shape[1:]) if "lora_A" in n else v for n, v in state.items()}
        adapter.load_adapter_state(trainer.pipe.unet, trainer.pipe.text_encoder, other)
    with pytest.raises(AdapterError, match="other modules"):
        adapter.load_adapter_state(trainer.pipe.unet, trainer.pipe.text_encoder, dict(list(state.items())[2:]))


def test_delta_agrees_with_peft(make: Callable) -> None:
    """ΔW of linear layers, 1x1 and 3x3 convolutions is what PEFT would merge, rsLoRA or not."""
    for rslora in (False, True):
        trainer = make(rank=4, alpha=6.0, rslora=rslora, target="all-linear+conv")
        state = {name: torch.randn_like(value) for name, value in trainer.adapter().items()}
        adapter.load_adapter_state(trainer.pipe.unet, trainer.pipe.text_encoder, state)
        weights = adapter.module_weights(state, adapter.scale(4, 6.0, rslora))
        layers = {f"unet.{name}": layer for name, layer in adapter.layers(trainer.pipe.unet)}
        assert weights.keys() == layers.keys()
        assert {weight.down.dim() for weight in weights.values()} == {2, 4}
        for name, weight in weights.items():
            by_peft = layers[name].get_delta_weight("default")
            torch.testing.assert_close(weight.delta(), by_peft, rtol=1e-4, atol=1e-5, msg=name)


def test_a_tensor_that_is_no_part_of_an_adapter_is_named() -> None:
    """Names are split into module path and part; another name is an error."""
    assert adapter.split_name("unet.a.to_q.lora_A.weight") == ("unet.a.to_q", "lora_A.weight")
    with pytest.raises(AdapterError, match=r"unet\.a\.to_q\.weight is no LoRA tensor"):
        adapter.split_name("unet.a.to_q.weight")

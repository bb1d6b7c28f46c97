"""How a run computes: memory, precision, attention, layout and compilation, none of which change what is learned."""

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock

from anime_lora.training import trainer as room
from anime_lora.training.loop import accumulate, take_step
from anime_lora.training.state import State
from anime_lora.training.stop import Stop


@pytest.mark.parametrize(("asked", "times"), [(False, 1), (True, 2)])
def test_checkpointing_computes_blocks_twice(make: Callable, asked: bool, times: int) -> None:
    """Gradient checkpointing keeps no activations: the backward pass computes each block anew, in both models."""
    run = make(gradient_checkpointing=asked, text_encoder_learning_rate=1e-3)
    calls = {"unet": 0, "text": 0}
    first = next(module for module in run.pipe.unet.modules() if isinstance(module, BasicTransformerBlock))
    words = run.pipe.text_encoder.encoder.layers[0].self_attn
    first.norm1.register_forward_pre_hook(lambda *_: calls.update(unet=calls["unet"] + 1))
    words.register_forward_pre_hook(lambda *_: calls.update(text=calls["text"] + 1))
    run.training_mode(True)
    accumulate(run, run.visits(0)[:1])
    assert calls == {"unet": times, "text": times}


def test_xformers_is_asked_for(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """attention: xformers switches the UNet to it (its kernels need CUDA); sdpa leaves diffusers' choice."""
    asked: list[object] = []

    def note(unet: UNet2DConditionModel) -> None:
        asked.append(unet)

    monkeypatch.setattr(UNet2DConditionModel, "enable_xformers_memory_efficient_attention", note)
    make(attention="sdpa")
    assert not asked
    run = make(attention="xformers")
    assert asked == [run.pipe.unet]


def test_loss_scale_of_fp16_leaves_the_gradient(make: Callable) -> None:
    """With the loss scaled as fp16 needs it, what the optimizer sees is the gradient without the scale."""
    grads = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        run = make()
        run.accelerator.scaler = scaler
        run.training_mode(True)
        take_step(run, State(), run.visits(0)[:2], Stop())
        grads.append([parameter.grad.clone() for parameter in run.parameters])
    for plain, scaled in zip(*grads, strict=True):
        torch.testing.assert_close(scaled, plain, rtol=1e-5, atol=1e-9)


def test_overflow_of_fp16_is_no_fault_of_the_images(make: Callable) -> None:
    """An infinite gradient under a high loss scale: the update is skipped, the scale halved, no bad step counted."""
    run, state = make(), State()
    run.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100, backoff_factor=0.5)
    run.parameters[0].register_hook(lambda grad: grad * float("inf") + 1)
    before = run.adapter()
    take_step(run, state, run.visits(0)[:2], Stop())
    assert all(torch.equal(before[name], value) for name, value in run.adapter().items())
    assert (len(state.bad), state.bad_in_row) == (1, 0)
    assert run.accelerator.scaler.get_scale() == 2.0**99


@pytest.mark.parametrize("target", ["attn", "all-linear+conv"])
def test_layout_of_large_convolutions_does_not_change_the_gradient(
    make: Callable, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Convolutions above the limit keep the usual layout, the others channels_last; gradients agree (rtol 1e-5)."""
    grads = []
    for limit in (room.LARGE, 5000):
        monkeypatch.setattr(room, "LARGE", limit)
        run = make(target=target)
        for name, parameter in run.pipe.unet.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
        accumulate(run, run.visits(0)[:2])
        grads.append([parameter.grad.clone() for parameter in run.parameters])
    large = {n: p for n, p in run.pipe.unet.named_parameters() if p.numel() >= 5000 and p.dim() == 4 and p.shape[2] > 1}
    assert large
    assert all(p.is_contiguous() for p in large.values())
    for usual, mixed in zip(*grads, strict=True):
        torch.testing.assert_close(mixed, usual, rtol=1e-5, atol=1e-5 * float(usual.abs().max()))


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses(
    make: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """torch.compile changes speed, not numbers (rtol 1e-5 in fp32).

    With a cache of its own: a compilation that was killed leaves half a library in the common one, which never loads.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    losses = []
    for compiled in (False, True):
        run, state = make(compile=compiled, learning_rate=1e-3, target="attn"), State()
        run.training_mode(True)
        for start in (0, 2, 4):
            take_step(run, state, run.visits(0)[start : start + 2], Stop())
        blocks = [module for module in run.pipe.unet.modules() if isinstance(module, BasicTransformerBlock)]
        assert all((block._compiled_call_impl is not None) == compiled for block in blocks)
        losses.append([row["loss"] for row in state.losses])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)

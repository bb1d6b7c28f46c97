"""Training steps: true accumulation, clipping, guards and twenty golden losses; and how they are computed."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor

from anime_lora.diffusion.rng import sample_noise
from anime_lora.errors import TrainingError
from anime_lora.lora import adapter
from anime_lora.training import losses
from anime_lora.training import trainer as trainer_module
from anime_lora.training.batch import Example
from anime_lora.training.latent_cache import pixels
from anime_lora.training.trainer import Trainer
from tests.support.tiny import make_trainer

GOLDEN = [
    1.235446,
    1.089934,
    1.172817,
    0.956339,
    1.025269,
    1.006937,
    0.884811,
    0.937674,
    0.856934,
    0.786206,
    0.952035,
    0.766704,
    0.715986,
    0.934683,
    0.884802,
    0.761658,
    0.812242,
    0.774806,
    0.717594,
    0.677116,
]


def gradients(make: Callable, count: int, **changes: object) -> list[torch.Tensor]:
    """The gradient of one group of the first `count` images."""
    trainer = make(weight_decay=0.0, max_grad_norm=1e9, **changes)
    for name, parameter in trainer.pipe.unet.named_parameters():
        if "lora_B" in name:  # at B = 0 half the gradients are zero
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    trainer.train_mode()
    trainer.step([Example(0, image) for image in trainer.train_images[:count]])
    return [parameter.grad.clone() for parameter in trainer.parameters]


@pytest.mark.parametrize("count", [4, 3])
def test_micro_batches_do_not_change_the_gradient(make: Callable, count: int) -> None:
    """Four images (or the tail of three) as 4x1, 2x2 or 1x4 give the same mean gradient in fp32."""
    whole = gradients(make, count, batch_size=4, gradient_accumulation_steps=1)
    for size in (2, 1):
        parts = gradients(make, count, batch_size=size, gradient_accumulation_steps=4 // size)
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def test_levers_do_not_change_the_gradient(make: Callable) -> None:
    """Cached embeddings, channels_last, SDPA, fused layers, checkpointing: the plain path's gradient (rtol 1e-5)."""
    fast = gradients(make, 4, batch_size=4)
    checkpointed = gradients(make, 4, batch_size=4, gradient_checkpointing=True)
    plain = plain_gradients(make)
    for a, b, c in zip(plain, fast, checkpointed, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))
        torch.testing.assert_close(c, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def plain_gradients(make: Callable) -> list[torch.Tensor]:
    """The same gradient by the plain way: encode now, NCHW, products and softmax, PEFT as it comes, the mean."""
    trainer = make(batch_size=4)
    for name, parameter in trainer.pipe.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    unet = trainer.pipe.unet.to(memory_format=torch.contiguous_format).train()
    for _, layer in adapter.layers(unet):
        layer.cast_input_dtype_enabled = True
    for part in unet.modules():
        vars(part).pop("forward", None)  # the fused ones: PEFT's and diffusers' are the classes'
    unet.set_attn_processor(AttnProcessor())

    images = trainer.train_images[:4]
    samples = [sample_noise(1, 0, image.id, (4, 8, 8), 1000) for image in images]
    with torch.no_grad():
        posterior = trainer.pipe.vae.encode(
            torch.cat([pixels(p.path, 64) for p in trainer.train_images[:4]])
        ).latent_dist
        x0 = (posterior.mean + posterior.std * torch.stack([d.posterior for d in samples])) * trainer.batches.scaling
        ids = trainer.text_embeddings.ids([image.text for image in images])
        words = trainer.pipe.text_encoder(ids)[0]
    steps, noise = torch.tensor([d.timestep for d in samples]), torch.stack([d.noise for d in samples])
    noisy = losses.noised(x0, noise, trainer.batches.alphas_cumprod[steps])
    torch.nn.functional.mse_loss(unet(noisy, steps, words).sample, noise).backward()
    return [parameter.grad.clone() for parameter in trainer.parameters]


def test_fused_adamw_takes_the_plain_step(make: Callable) -> None:
    """From equal gradients the fused optimizer and torch's loop over the parameters come to the same weights."""
    adapters = []
    for fused in (True, False):
        trainer = make(batch_size=2, learning_rate=1e-2)
        assert all(group["fused"] for group in trainer.optimizer.param_groups)
        for group in trainer.optimizer.param_groups:
            group["fused"], group["foreach"] = fused, False
        trainer.train_mode()
        trainer.step(trainer.epoch_groups(0)[0])
        adapters.append(trainer.adapter())
    for name, value in adapters[1].items():
        torch.testing.assert_close(adapters[0][name], value, rtol=1e-5, atol=1e-7)


def test_clipping_bites(make: Callable) -> None:
    """With a tiny limit the gradient that reaches the optimizer has exactly that length."""
    trainer = make(max_grad_norm=1e-4, batch_size=2)
    trainer.train_mode()
    trainer.step(trainer.epoch_groups(0)[0])
    length = torch.stack([p.grad.norm() for p in trainer.parameters if p.grad is not None]).norm()
    assert float(length) == pytest.approx(1e-4, rel=1e-2)


def test_twenty_golden_losses(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first twenty losses on the tiny base: a refactor leaves them."""
    trainer = make(epochs=7, batch_size=2, heldout_images=0, learning_rate=1e-2, schedule="constant")
    monkeypatch.setattr(trainer.validator, "generate_strip", lambda _: [])
    trainer.fit()
    losses = [result.loss for result in trainer.state.losses][:20]
    assert losses == pytest.approx(GOLDEN, rel=2e-4), losses


def test_bad_loss_skips_the_update_and_names_the_images(make: Callable, capsys: pytest.CaptureFixture) -> None:
    """A NaN loss leaves weights and optimizer alone, is on record, and training goes on after it."""
    trainer = make(batch_size=2)
    loss, state, group = trainer.loss, trainer.state, trainer.epoch_groups(0)[0]
    trainer.loss = lambda batch: loss(batch) * float("nan")
    before = trainer.adapter()
    assert trainer.step(group).loss is None
    assert all(torch.equal(before[name], value) for name, value in trainer.adapter().items())
    assert not trainer.optimizer.state
    assert state.skipped[0].images == [example.image.name for example in group]
    assert len(state.skipped[0].timesteps) == 2
    assert group[0].image.name in capsys.readouterr().out
    trainer.loss = loss
    assert trainer.step(group).loss is not None
    assert state.skipped_in_row == 0


def test_bad_steps_in_a_row_stop_training(make: Callable) -> None:
    """After train.max_bad_steps in a row training ends with the list of images."""
    trainer = make(max_bad_steps=3)
    group = trainer.epoch_groups(0)[0][:1]
    trainer.skip(group, settling=False)
    trainer.skip(group, settling=True)
    trainer.skip(group, settling=False)
    with pytest.raises(TrainingError, match=r"(?s)3 steps in a row.*max_bad_steps.*\.png at t=\d"):
        trainer.skip(group, settling=False)


def test_class_images_of_a_bad_step_are_named_too(make: Callable) -> None:
    """Either of the two shown together may be the cause: each is on record with the timestep that it was shown at."""
    trainer = make(prior_images=1)
    group = trainer.epoch_groups(0)[0]
    trainer.skip(group, settling=False)
    (skipped,) = trainer.state.skipped
    assert skipped.images == [group[0].image.name, group[1].image.name, *[trainer.class_images[0].name] * 2]
    assert trainer.class_images[0].name.startswith("class image 00000")
    assert skipped.timesteps == trainer.batches.build(group).timesteps.tolist()


def test_validation_does_not_perturb_training(make: Callable) -> None:
    """With another validation the losses are bit for bit the same, and the global generator stays untouched."""
    tables = []
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for changes in ({"validation_images": 1, "heldout_images": 0}, {"validation_images": 2, "heldout_images": 2}):
        trainer = make(epochs=2, **changes)
        trainer.fit()
        tables.append((trainer.state.losses, trainer.adapter()))
    assert tables[0][0] == tables[1][0]
    assert all(torch.equal(value, tables[1][1][name]) for name, value in tables[0][1].items())
    assert torch.equal(before, torch.get_rng_state())


ACTS = [
    {"seed": 2}, {"rank": 3}, {"alpha": 8.0}, {"target": "attn"}, {"rslora": True}, {"dora": True}, {"dropout": 0.5},
    {"text_encoder_learning_rate": 1e-2}, {"batch_size": 1}, {"gradient_accumulation_steps": 2},
    {"learning_rate": 2e-2}, {"schedule": "linear"}, {"schedule": "constant"}, {"warmup_steps": 3},
    {"optimizer": "adafactor"}, {"optimizer": "prodigy", "learning_rate": 1.0}, {"weight_decay": 0.9},
    {"max_grad_norm": 1e-9}, {"prediction_type": "v_prediction"}, {"min_snr_gamma": 0.5}, {"noise_offset": 0.5},
    {"caption_dropout": 0.9}, {"shuffle_tags": True, "keep_tags": 0}, {"precision": "bf16"},
]  # fmt: skip
"""Every option that changes what is learned; those that must not are held by their own tests."""


@pytest.fixture(scope="module")
def usual(tiny_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses without any option."""
    return six_losses(make_trainer(tiny_base, dataset, tmp_path_factory.mktemp("usual"), learning_rate=1e-2))


def six_losses(trainer: Trainer) -> list[float | None]:
    """The losses of two epochs, without validation."""
    trainer.train_mode()
    return [trainer.step(group).loss for epoch in range(2) for group in trainer.epoch_groups(epoch)]


@pytest.mark.parametrize("changes", ACTS, ids=str)
def test_option_acts(make: Callable, usual: list[float], changes: dict) -> None:
    """With the option the losses become other ones; the same run without it repeats its own."""
    values = six_losses(make(**{"learning_rate": 1e-2, **changes}))
    assert all(math.isfinite(loss) for loss in values)
    assert values != usual


def test_without_an_option_nothing_acts(make: Callable, usual: list[float]) -> None:
    assert six_losses(make(learning_rate=1e-2)) == usual


def test_dropout_repeats(make: Callable) -> None:
    """Adapter dropout is sampled anew at each step, and yet the same run gives the same losses."""
    changes = {"dropout": 0.5, "learning_rate": 1e-2}
    first = six_losses(make(**changes))
    torch.manual_seed(99)
    assert six_losses(make(**changes)) == first
    assert six_losses(make(**{**changes, "dropout": 0.0})) != first


@pytest.mark.parametrize(("asked", "times"), [(False, 1), (True, 2)])
def test_checkpointing_computes_blocks_twice(make: Callable, asked: bool, times: int) -> None:
    """Gradient checkpointing keeps no activations: the backward pass computes each block anew, in both models."""
    trainer = make(gradient_checkpointing=asked, text_encoder_learning_rate=1e-3)
    calls = {"unet": 0, "text": 0}
    first = next(module for module in trainer.pipe.unet.modules() if isinstance(module, BasicTransformerBlock))
    words = trainer.pipe.text_encoder.encoder.layers[0].self_attn
    first.norm1.register_forward_pre_hook(lambda *_: calls.update(unet=calls["unet"] + 1))
    words.register_forward_pre_hook(lambda *_: calls.update(text=calls["text"] + 1))
    trainer.train_mode()
    trainer.step(trainer.epoch_groups(0)[0][:1])
    assert calls == {"unet": times, "text": times}


def test_xformers_is_asked_for(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """attention: xformers switches the UNet to it (its kernels need CUDA); sdpa leaves diffusers' choice."""
    asked: list[object] = []

    def note(unet: UNet2DConditionModel) -> None:
        asked.append(unet)

    monkeypatch.setattr(UNet2DConditionModel, "enable_xformers_memory_efficient_attention", note)
    make(attention="sdpa")
    assert not asked
    trainer = make(attention="xformers")
    assert asked == [trainer.pipe.unet]


def test_loss_scale_of_fp16_leaves_the_gradient(make: Callable) -> None:
    """With the loss scaled as fp16 needs it, what the optimizer sees is the gradient without the scale."""
    grads = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        trainer = make()
        trainer.accelerator.scaler = scaler
        trainer.train_mode()
        trainer.step(trainer.epoch_groups(0)[0])
        grads.append([parameter.grad.clone() for parameter in trainer.parameters])
    for plain, scaled in zip(*grads, strict=True):
        torch.testing.assert_close(scaled, plain, rtol=1e-5, atol=1e-9)


def test_overflow_of_fp16_is_no_fault_of_the_images(make: Callable) -> None:
    """An infinite gradient under a high loss scale: the update is skipped, the scale halved, no bad step counted."""
    trainer = make()
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100, backoff_factor=0.5)
    trainer.parameters[0].register_hook(lambda grad: grad * float("inf") + 1)
    before = trainer.adapter()
    trainer.step(trainer.epoch_groups(0)[0])
    assert all(torch.equal(before[name], value) for name, value in trainer.adapter().items())
    assert (len(trainer.state.skipped), trainer.state.skipped_in_row) == (1, 0)
    assert trainer.accelerator.scaler.get_scale() == 2.0**99


@pytest.mark.parametrize("target", ["attn", "all-linear+conv"])
def test_layout_of_large_convolutions_does_not_change_the_gradient(
    make: Callable, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Convolutions above the limit keep the usual layout, the others channels_last; gradients agree (rtol 1e-5)."""
    grads = []
    for limit in (trainer_module.LARGE, 5000):
        monkeypatch.setattr(trainer_module, "LARGE", limit)
        trainer = make(target=target, max_grad_norm=1e9)
        for name, parameter in trainer.pipe.unet.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
        trainer.step(trainer.epoch_groups(0)[0])
        grads.append([parameter.grad.clone() for parameter in trainer.parameters])
    large = {
        n: p for n, p in trainer.pipe.unet.named_parameters() if p.numel() >= 5000 and p.dim() == 4 and p.shape[2] > 1
    }
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
        trainer = make(compile=compiled, learning_rate=1e-3, target="attn")
        trainer.train_mode()
        losses.append([trainer.step(group).loss for group in trainer.epoch_groups(0)])
        blocks = [module for module in trainer.pipe.unet.modules() if isinstance(module, BasicTransformerBlock)]
        assert all((block._compiled_call_impl is not None) == compiled for block in blocks)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)

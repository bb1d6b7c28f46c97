"""Steps: true accumulation, clipping, guards, and twenty golden losses."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from anime_lora.errors import TrainingError
from anime_lora.training.batch import Visit
from anime_lora.training.loop import accumulate, note_bad, share, take_step, train_epochs
from anime_lora.training.prior_preservation import class_images
from anime_lora.training.state import State
from anime_lora.training.stop import Stop, StopAskedError

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
    run = make(weight_decay=0.0, **changes)
    for name, parameter in run.pipe.unet.named_parameters():
        if "lora_B" in name:  # at B = 0 half the gradients are zero
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    accumulate(run, [Visit(0, image) for image in run.images[:count]])
    return [parameter.grad.clone() for parameter in run.parameters]


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
    from anime_lora.lora import adapter
    from anime_lora.training import losses as objective
    from anime_lora.training.latent_cache import pixels

    run = make(batch_size=4)
    for name, parameter in run.pipe.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    unet = run.pipe.unet.to(memory_format=torch.contiguous_format).train()
    for _, layer in adapter.layers(unet):
        layer.cast_input_dtype_enabled = True
    for part in unet.modules():
        vars(part).pop("forward", None)  # the fused ones: PEFT's and diffusers' are the classes'
    unet.set_attn_processor(AttnProcessor())
    from anime_lora.diffusion.rng import sample_noise

    samples = [sample_noise(1, 0, image.id, (4, 8, 8), 1000) for image in run.images[:4]]
    with torch.no_grad():
        posterior = run.pipe.vae.encode(torch.cat([pixels(p.path, 64) for p in run.images[:4]])).latent_dist
        x0 = (posterior.mean + posterior.std * torch.stack([d.posterior for d in samples])) * run.batches.scaling
        ids = run.batches.texts.ids([p.text for p in run.images[:4]])
        words = run.pipe.text_encoder(ids)[0]
    steps, noise = torch.tensor([d.timestep for d in samples]), torch.stack([d.noise for d in samples])
    noisy = objective.noised(x0, noise, run.batches.alphas[steps])
    torch.nn.functional.mse_loss(unet(noisy, steps, words).sample, noise).backward()
    return [parameter.grad.clone() for parameter in run.parameters]


def test_fused_adamw_takes_the_plain_step(make: Callable) -> None:
    """From equal gradients the fused optimizer and torch's loop over the parameters come to the same weights."""
    found = []
    for fused in (True, False):
        run, state = make(batch_size=2, learning_rate=1e-2), State()
        assert all(group["fused"] for group in run.optimizer.param_groups)
        for group in run.optimizer.param_groups:
            group["fused"], group["foreach"] = fused, False
        run.training_mode(True)
        take_step(run, state, run.visits(0)[:2], Stop())
        found.append(run.adapter())
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-5, atol=1e-7)


def test_clipping_bites(make: Callable) -> None:
    """With a tiny limit the gradient that reaches the optimizer has exactly that length."""
    run = make(max_grad_norm=1e-4, batch_size=2)
    run.training_mode(True)
    take_step(run, State(), run.visits(0)[:2], Stop())
    length = torch.stack([p.grad.norm() for p in run.parameters if p.grad is not None]).norm()
    assert float(length) == pytest.approx(1e-4, rel=1e-2)


def test_twenty_golden_losses(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first twenty losses on the tiny base: a refactor leaves them."""
    run = make(epochs=7, batch_size=2, heldout_images=0, learning_rate=1e-2, schedule="constant")
    monkeypatch.setattr("anime_lora.training.validation.preview.generate_strip", lambda *_, **__: [])
    for image in run.images:
        run.batches.latents.get(image)
    state = State()
    train_epochs(run, state, Stop())
    losses = [row["loss"] for row in state.losses][:20]
    assert losses == pytest.approx(GOLDEN, rel=2e-4), losses


def test_bad_loss_skips_the_update_and_names_the_images(make: Callable, capsys: pytest.CaptureFixture) -> None:
    """A NaN loss leaves weights and optimizer alone, is on record, and training goes on after it."""
    run = make(batch_size=2)
    losses = run.losses
    state, part = State(), run.visits(0)[:2]
    run.losses = lambda visits: losses(visits) * float("nan")
    before = run.adapter()
    row = take_step(run, state, part, Stop())
    assert row["loss"] is None
    assert all(torch.equal(before[name], value) for name, value in run.adapter().items())
    assert not run.optimizer.state
    assert state.bad[0]["pictures"] == [visit.image.name for visit in part]
    assert len(state.bad[0]["timesteps"]) == 2
    assert part[0].image.name in capsys.readouterr().out
    run.losses = losses
    assert take_step(run, state, part, Stop())["loss"] is not None
    assert state.bad_in_row == 0


def test_bad_steps_in_a_row_stop_training(make: Callable) -> None:
    """After train.max_bad_steps in a row training ends with the list of images."""
    run = make(max_bad_steps=3)
    state, part = State(), run.visits(0)[:1]
    note_bad(run, state, part, settling=False)
    note_bad(run, state, part, settling=True)
    note_bad(run, state, part, settling=False)
    with pytest.raises(TrainingError, match=r"(?s)3 steps in a row.*max_bad_steps.*\.png at t=\d"):
        note_bad(run, state, part, settling=False)


def test_class_images_of_a_bad_step_are_named_too(make: Callable, tmp_path: Path) -> None:
    """Either of the two shown together may be the cause: each is on record with the timestep that it was shown at."""
    run, state = make(prior_images=1), State()
    run.images += class_images(run, tmp_path / "prior", Stop())
    part = run.visits(0)[:2]
    note_bad(run, state, part, settling=False)
    assert state.bad[0]["pictures"] == [part[0].image.name, part[1].image.name, *["class image 00000.png"] * 2]
    assert state.bad[0]["timesteps"] == run.batches.of(part).timesteps.tolist()


def test_validation_does_not_perturb_training(make: Callable, tmp_path: object) -> None:
    """With another validation the losses are bit for bit the same, and the global generator stays untouched."""
    tables = []
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for changes in ({"validation_images": 1, "heldout_images": 0}, {"validation_images": 2, "heldout_images": 2}):
        run, state = make(epochs=2, **changes), State()
        train_epochs(run, state, Stop())
        tables.append((state.losses, run.adapter()))
    assert tables[0][0] == tables[1][0]
    assert all(torch.equal(value, tables[1][1][name]) for name, value in tables[0][1].items())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("when", ["while the answer is agreed on", "after it"])
def test_two_processes_stop_at_the_same_step(when: str) -> None:
    """A signal that one of them hears too late for this step is not lost, and stops both at the next."""
    stop = Stop()
    late = [lambda: stop.request(signal.SIGTERM, None)]

    def reduce(whole: torch.Tensor, _: str) -> torch.Tensor:
        if when != "after it" and late:
            late.pop()()
        return whole.clone()

    accelerator = SimpleNamespace(num_processes=2, reduce=reduce)
    run = SimpleNamespace(accelerator=accelerator, parameters=[torch.nn.Parameter(torch.zeros(2))])
    share(run, torch.zeros(()), stop)
    if late:
        late.pop()()
    stop.check()
    share(run, torch.zeros(()), stop)
    with pytest.raises(StopAskedError):
        stop.check()

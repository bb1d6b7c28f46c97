"""Each option of the train section does what its line in params.yaml says."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.config.train import Train
from anime_lora.diffusion.rng import groups
from anime_lora.errors import TrainingError
from anime_lora.lora import adapter as lora
from anime_lora.training import checkpoint
from anime_lora.training.batch import Visit
from anime_lora.training.images import of_split
from anime_lora.training.loop import take_step, train_epochs
from anime_lora.training.optim import Average, rate_factor
from anime_lora.training.prior_preservation import class_images
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from tests.support.tiny import ROOT, make_run

RUNS = [
    {"optimizer": "adamw8bit"},
    {"optimizer": "prodigy", "learning_rate": 1.0, "text_encoder_learning_rate": 1.0},
    {"optimizer": "adafactor"},
    {"dora": True, "target": "attn"},
    {"rslora": True, "dropout": 0.3},
    {"precision": "bf16"},
    {"text_encoder_learning_rate": 1e-3, "shuffle_tags": True, "caption_dropout": 0.2},
    {"min_snr_gamma": 5.0, "noise_offset": 0.05, "flip": True, "ema_decay": 0.9},
    {"prediction_type": "v_prediction", "min_snr_gamma": 5.0, "schedule": "cosine", "warmup_steps": 2},
    {"prior_images": 3, "prior_weight": 0.5, "keep_epochs": True},
]


@pytest.mark.parametrize("changes", RUNS, ids=str)
def test_option_trains_and_publishes(stage: Callable[..., Path], changes: dict) -> None:
    """With the option on, the stage runs to its end, the loss is finite and the adapter has moved."""
    out = stage(epochs=1, heldout_images=1, **changes)
    adapter = load_file(out / "pytorch_lora_weights.safetensors")
    assert all(value.isfinite().all() for value in adapter.values())
    assert any(value.any() for name, value in adapter.items() if "lora_B" in name)
    rows = (out / "plots" / "loss.csv").read_text().splitlines()[1:]
    assert all(0 < float(row.split(",")[2]) < 10 for row in rows)
    assert (out / "epochs").exists() == changes.get("keep_epochs", False)


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
    return six_losses(make_run(tiny_base, dataset, tmp_path_factory.mktemp("usual"), learning_rate=1e-2))


def six_losses(run: object) -> list[float]:
    """The losses of two epochs, without validation."""
    state = State()
    run.training_mode(True)  # type: ignore[attr-defined]
    for epoch in range(2):
        for part in groups(run.visits(epoch), run.group_size):  # type: ignore[attr-defined]
            take_step(run, state, part, Stop())  # type: ignore[arg-type]
    return [row["loss"] for row in state.losses]


@pytest.mark.parametrize("changes", ACTS, ids=str)
def test_option_acts(make: Callable, usual: list[float], changes: dict) -> None:
    """With the option the losses become other ones; the same run without it repeats its own."""
    found = six_losses(make(**{"learning_rate": 1e-2, **changes}))
    assert all(math.isfinite(loss) for loss in found)
    assert found != usual


def test_without_an_option_nothing_acts(make: Callable, usual: list[float]) -> None:
    assert six_losses(make(learning_rate=1e-2)) == usual


def test_every_setting_has_a_line_that_says_its_effect() -> None:
    """No setting of `train` stands in params.yaml without words beside it."""
    lines = (ROOT / "params.yaml").read_text().splitlines()
    for name in Train.model_fields:
        (line,) = [line for line in lines if line.startswith(f"  {name}:") and lines.index("train:") < lines.index(line)
                   < lines.index("validate_sample:")]  # fmt: skip
        assert len(line.split("#", 1)[-1].split()) >= 3 or name == "validation_steps", line
        assert "#" in line, line


def losses(run: object) -> list[float]:
    state = State()
    train_epochs(run, state, Stop())  # type: ignore[arg-type]
    return [row["loss"] for row in state.losses]


def test_dropout_repeats(make: Callable) -> None:
    """Adapter dropout is sampled anew at each step, and yet the same run gives the same losses."""
    changes = {"dropout": 0.5, "epochs": 2, "learning_rate": 1e-2, "heldout_images": 0}
    first = losses(make(**changes))
    torch.manual_seed(99)
    assert losses(make(**changes)) == first
    assert losses(make(**{**changes, "dropout": 0.0})) != first


def test_prior_images_are_the_bases_own(make: Callable, tmp_path: Path) -> None:
    """They are generated once, shown beside each training image, and count with their weight."""
    run = make(prior_images=2, prior_weight=0.25)
    generated = class_images(run, tmp_path / "prior", Stop())
    assert generated == class_images(run, tmp_path / "prior", Stop())
    assert [image.split for image in generated] == ["prior", "prior"]
    assert generated[0].pixel_sha256 != generated[1].pixel_sha256
    with Image.open(generated[0].path) as opened:
        assert opened.info["parameters"].startswith(f"{run.settings.prior_prompt}\nSteps: 2,")
    run.images += generated
    visits = run.visits(0)
    assert len(visits) == len(of_split(run.images, "train"))
    assert {visit.prior for visit in visits} == set(generated)
    batch = run.batches.of(visits[:2])
    assert batch.weights.tolist() == [1, 1, 0.25, 0.25]
    assert batch.texts[2] == run.settings.prior_prompt


@pytest.mark.parametrize("kept", [0, 100])
def test_a_damaged_class_image_is_generated_again(make: Callable, tmp_path: Path, kept: int) -> None:
    """Emptied or cut, its file gives way to the same image; the whole one beside it stays as it is."""
    run = make(prior_images=2)
    generated = class_images(run, tmp_path, Stop())
    before = generated[0].path.read_bytes(), generated[1].path.stat().st_mtime_ns
    os.truncate(generated[0].path, kept)
    assert class_images(run, tmp_path, Stop()) == generated
    assert (generated[0].path.read_bytes(), generated[1].path.stat().st_mtime_ns) == before


def test_a_class_image_dealt_twice_gets_noise_twice(make: Callable, tmp_path: Path) -> None:
    """Beside each training image of an epoch the one class image has other noise and a timestep of its own."""
    run = make(prior_images=1)
    run.images += class_images(run, tmp_path / "prior", Stop())
    batch = run.batches.of(run.visits(0))
    count = len(of_split(run.images, "train"))
    assert len({tuple(target.flatten().tolist()) for target in batch.target[count:]}) == count
    assert len(set(batch.timesteps[count:].tolist())) > 1


def test_each_image_is_shown_with_its_own_caption(make: Callable) -> None:
    """Without caption options a visit shows the text that the dataset has for its image, and the UNet gets it."""
    run = make()
    visits = run.visits(0)
    batch = run.batches.of(visits)
    assert batch.texts == [visit.image.text for visit in visits]
    assert len(set(batch.texts)) == len(visits)
    conditioning: list[torch.Tensor] = []
    run.pipe.unet.register_forward_pre_hook(lambda _, inputs: conditioning.append(inputs[2]))
    run.predict(batch)
    assert torch.equal(conditioning[0], run.batches.texts(batch.texts))


def test_flip_mirrors_half_the_visits(make: Callable) -> None:
    """Over many epochs both latents of an image are met, about equally often."""
    run = make(flip=True)
    image = run.images[0]
    asked: list[bool] = []
    get = run.batches.latents.get
    run.batches.latents.get = lambda p, flip=False: asked.append(flip) or get(p, flip)
    for epoch in range(100):
        run.batches.of([Visit(epoch, image)])
    assert 30 < sum(asked) < 70


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 0.5, 0.25]), ("cosine", [0.5, 1, 0.5, 0.1464])],
)
def test_schedules(schedule: str, factors: list[float]) -> None:
    """Two warm-up steps, then the rate at the start, the middle and three quarters of the eight that follow."""
    found = [rate_factor(step, 10, schedule, 2) for step in (0, 2, 6, 8)]
    assert found == pytest.approx(factors, abs=1e-4)


def test_average_follows_and_swaps_back() -> None:
    """The average starts with the weights, moves towards them, and swapping twice changes nothing."""
    weight = torch.nn.Parameter(torch.zeros(1))
    average = Average([weight], 0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update()
    assert float(average.shadow[0]) == pytest.approx(1 - 2 / 11)
    average.swap()
    assert float(weight) == pytest.approx(1 - 2 / 11)
    average.swap()
    assert float(weight) == 1.0


def test_prodigy_with_an_adam_rate_is_refused(make: Callable) -> None:
    """A rate of 1e-4 under Prodigy would not train at all."""
    with pytest.raises(TrainingError, match=r"set train\.learning_rate to 1\.0"):
        make(optimizer="prodigy", learning_rate=1e-4)


def trained_up(run: object, steps: int) -> float:
    """Mean |B| after `steps` steps."""
    state = State()
    run.training_mode(True)  # type: ignore[attr-defined]
    for epoch in range(steps):
        take_step(run, state, run.visits(epoch)[: run.group_size], Stop())  # type: ignore[arg-type, attr-defined]
    found = [value for name, value in run.adapter().items() if "lora_B" in name]  # type: ignore[attr-defined]
    return float(torch.cat([value.flatten() for value in found]).abs().mean())


def test_adafactor_moves_as_far_as_adamw(make: Callable) -> None:
    """At the same rate B, which starts at zero, is of AdamW's size after 20 steps (within 10x)."""
    changes = {"learning_rate": 1e-3, "schedule": "constant", "epochs": 20, "heldout_images": 0}
    adamw, adafactor = (trained_up(make(optimizer=name, **changes), 20) for name in ("adamw", "adafactor"))
    assert adamw / 10 < adafactor < adamw * 10


@pytest.mark.parametrize("name", ["adafactor", "adamw8bit", "prodigy"])
def test_the_optimizers_state_survives_a_checkpoint(make: Callable, tmp_path: Path, name: str) -> None:
    """Put back from a file, every optimizer takes the very step that it would have taken."""
    changes = {"optimizer": name, "rank": 8, "learning_rate": 1.0 if name == "prodigy" else 1e-3}
    first = make(**changes)
    trained_up(first, 2)
    file = checkpoint.save(tmp_path, 2, "mark", {"optimizer": first.optimizer.state_dict()}, {})
    second = make(**changes)
    lora.load_adapter_state(second.pipe.unet, second.pipe.text_encoder, first.adapter())
    second.optimizer.load_state_dict(torch.load(file / checkpoint.STATE, weights_only=True)["optimizer"])
    for run in (first, second):
        run.training_mode(True)
        take_step(run, State(step=2), run.visits(2)[:2], Stop())
    assert all(torch.equal(value, second.adapter()[key]) for key, value in first.adapter().items())


def test_weight_decay_leaves_doras_lengths(make: Callable) -> None:
    """Pulled to zero they would erase the base's weights: with no gradient a step leaves them and shrinks A."""
    run = make(dora=True, weight_decay=0.9, learning_rate=1e-2, target="attn", text_encoder_learning_rate=1e-2)
    before = run.adapter()
    for parameter in run.parameters:
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    for name, value in run.adapter().items():
        assert torch.equal(value, before[name]) != ("lora_A" in name)


def test_eight_bit_state_is_eight_bit(make: Callable) -> None:
    """Large adapters keep their optimizer state in bytes."""
    run = make(optimizer="adamw8bit", rank=64, alpha=64.0, target="all-linear+conv")
    run.losses(run.visits(0)[:1]).mean().backward()
    run.optimizer.step()
    kinds = {value.dtype for state in run.optimizer.state.values() for n, value in state.items() if n == "state1"}
    assert torch.uint8 in kinds


def test_early_stop_keeps_the_best(stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loss that only rises after epoch 1, patience 2 ends training after epoch 3 and the record says why."""
    import json

    values = iter([1.0, 0.5, 0.7, 0.9, 1.1])

    def rows(*_: object) -> dict[str, object]:
        loss = next(values)
        return {"heldout": loss, "probe": 0.1, "gap": 0.0, "each": [loss, loss]}

    monkeypatch.setattr("anime_lora.training.validation.held_out", rows)
    record = json.loads((stage(epochs=4, patience=2) / "record.json").read_text())
    assert record["stopped_early"]
    assert record["epoch"] == 1
    assert record["last_epoch"] == 3
    assert "lowest held-out loss" in record["reason"]
    assert "distance" in record["reason"]
    scores = [row["score"] for row in record["epochs"]]
    assert scores.index(max(scores)) == 1

"""The end of an epoch: what is measured, generated and kept follows the settings."""

import json
from collections.abc import Callable

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.errors import TrainingError
from anime_lora.training import checkpoint, heldout, preview, style
from anime_lora.training import validation as epoch_module
from anime_lora.training.images import of_split
from anime_lora.training.loop import train_epochs
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import Run
from anime_lora.training.validation import adapter_file, held_out, strip_file, validate
from tests.support.tiny import SIDE


def test_the_average_is_what_is_validated_and_kept(make: Callable) -> None:
    """With ema_decay an epoch's adapter is the running average, and training goes on from the weights themselves."""
    run, state = make(epochs=1, ema_decay=0.9, learning_rate=1e-2, heldout_images=0), State()
    train_epochs(run, state, Stop())
    kept, weights = load_file(adapter_file(run.folder, 1)), run.adapter()
    run.average.swap()
    average = run.adapter()
    assert all(torch.equal(kept[name], average[name]) for name in weights)
    assert not all(torch.equal(kept[name], weights[name]) for name in weights)


@pytest.mark.parametrize("count", [1, 2])
def test_so_many_held_out_images_are_measured(make: Callable, count: int) -> None:
    """heldout_images: each of the first so many, and as many training images for the gap."""
    found = held_out(make(heldout_images=count), Stop())
    assert len(found["each"]) == count
    assert found["gap"] == pytest.approx(found["heldout"] - found["probe"])


def test_strip_shows_the_settings(make: Callable) -> None:
    """`validation_images` samples side by side, generated from the validation prompt."""
    run = make(validation_images=3, validation_prompt="t c green", heldout_images=0)
    said: list[str] = []
    ids = run.batches.texts.ids
    run.batches.texts.ids = lambda texts: said.extend(texts) or ids(texts)
    validate(run, State(), Stop())
    with Image.open(strip_file(run.folder, 0)) as strip:
        assert strip.size == (3 * SIDE, SIDE)
    assert set(said) == {"", "t c green"}


@pytest.mark.parametrize("changes", [{"validation_steps": 3}, {"validation_guidance": 9.0}], ids=str)
def test_sampling_settings_act(make: Callable, changes: dict) -> None:
    """Other steps or guidance generate another image from the same noise; the same ones repeat it."""
    usual, again, other = (preview.sample(make(**each), "t c", 1, Stop()) for each in ({}, {}, changes))
    assert torch.equal(usual, again)
    assert not torch.allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize(("every", "keep", "steps"), [(1, 2, [3, 2]), (2, 5, [3, 2]), (500, 1, [3])])
def test_checkpoints_are_kept_as_asked(make: Callable, every: int, keep: int, steps: list[int]) -> None:
    """Every so many steps and at the epoch's end, here step 3; the newest keep_checkpoints stay."""
    run = make(epochs=1, checkpoint_every=every, keep_checkpoints=keep, heldout_images=0)
    assert len(of_split(run.images, "train")) == 3 * run.group_size
    train_epochs(run, State(), Stop())
    found = [int(path.name.removeprefix("step-")) for path in checkpoint.saved(run.folder / "checkpoints")]
    assert found == steps


@pytest.mark.parametrize("what", ["loss", "style"])
def test_a_measure_that_is_not_finite_costs_one_epoch(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, what: str, capsys: pytest.CaptureFixture
) -> None:
    """NaN on a held-out image, or in a sample, after epoch 1: epoch 2 is published and the record is whole JSON."""
    extra, losses, distances = iter([0.0, float("nan"), 0.0]), heldout.loss, style.distances
    measured = epoch_module.held_out

    def broken(run: Run, stop: Stop) -> dict:
        add = next(extra)
        if what == "loss":
            monkeypatch.setattr(heldout, "loss", lambda *args: losses(*args) + add)
        else:
            monkeypatch.setattr(style, "distances", lambda *args: [one + add for one in distances(*args)])
        return measured(run, stop)

    monkeypatch.setattr(epoch_module, "held_out", broken)
    record = json.loads((stage(epochs=2, patience=None) / "record.json").read_text())
    assert record["epoch"] == 2
    assert "1 of which have diverged" in record["reason"]
    assert [row["score"] is None for row in record["epochs"]] == [False, True, False]
    if what == "loss":
        assert record["epochs"][1]["each"] == [None, None]
        assert "epoch 1: held-out loss not finite, train probe not finite" in capsys.readouterr().out


@pytest.mark.parametrize(("precision", "cure"), [("fp32", "weights of base.model"), ("bf16", "to bf16 or fp32")])
def test_a_base_without_finite_losses_is_refused(
    make: Callable, monkeypatch: pytest.MonkeyPatch, precision: str, cure: str
) -> None:
    """Before anything is trained, naming an image and what can be done: nothing could be compared with it."""
    run, state = make(precision=precision), State()
    monkeypatch.setattr(heldout, "loss", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match=rf"no finite loss on 2 of 2 held-out images, e\.g\. .*\.png.*{cure}"):
        validate(run, state, Stop())
    assert not state.epochs

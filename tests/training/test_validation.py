"""The end of an epoch: what is measured, generated and kept follows the settings."""

import json
from collections.abc import Callable

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.errors import TrainingError
from anime_lora.training import validation
from anime_lora.training.batch import Batch
from anime_lora.training.latent_cache import pixels
from anime_lora.training.trainer import adapter_file
from anime_lora.training.validation import EpochResult, Validator, strip_file, style_distances, style_statistics
from tests.support.tiny import ROOT, SIDE


def test_the_average_is_what_is_validated_and_kept(make: Callable) -> None:
    """With ema_decay an epoch's adapter is the running average, and training goes on from the weights themselves."""
    trainer = make(epochs=1, ema_decay=0.9, learning_rate=1e-2, heldout_images=0)
    trainer.fit()
    saved, weights = load_file(adapter_file(trainer.folder, 1)), trainer.adapter()
    trainer.ema.swap()
    average = trainer.adapter()
    assert all(torch.equal(saved[name], average[name]) for name in weights)
    assert not all(torch.equal(saved[name], weights[name]) for name in weights)


@pytest.mark.parametrize("count", [1, 2])
def test_so_many_held_out_images_are_measured(make: Callable, count: int) -> None:
    """heldout_images: each of the first so many, and as many training images for the gap."""
    trainer = make(heldout_images=count)
    trainer.validate()
    (result,) = trainer.state.epochs
    assert len(result.each) == count
    assert result.heldout == pytest.approx(sum(result.each) / count)
    assert result.gap == pytest.approx(result.heldout - result.probe)


def test_strip_shows_the_settings(make: Callable) -> None:
    """`validation_images` samples side by side, generated from the validation prompt."""
    trainer = make(validation_images=3, validation_prompt="t c green", heldout_images=0)
    prompts: list[str] = []
    ids = trainer.sampler.text_embeddings.ids
    trainer.sampler.text_embeddings.ids = lambda texts: prompts.extend(texts) or ids(texts)
    trainer.validate()
    with Image.open(strip_file(trainer.folder, 0)) as strip:
        assert strip.size == (3 * SIDE, SIDE)
    assert set(prompts) == {"", "t c green"}


@pytest.mark.parametrize("changes", [{"validation_steps": 3}, {"validation_guidance": 9.0}], ids=str)
def test_sampling_settings_act(make: Callable, changes: dict) -> None:
    """Other steps or guidance generate another image from the same noise; the same ones repeat it."""
    usual, again, other = (make(**each).sampler.sample("t c", 1) for each in ({}, {}, changes))
    assert torch.equal(usual, again)
    assert not torch.allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize(("every", "keep", "steps"), [(1, 2, [3, 2]), (2, 5, [3, 2]), (500, 1, [3])])
def test_checkpoints_are_kept_as_asked(make: Callable, every: int, keep: int, steps: list[int]) -> None:
    """Every so many steps and at the epoch's end, here step 3; the newest keep_checkpoints stay."""
    trainer = make(epochs=1, checkpoint_every=every, keep_checkpoints=keep, heldout_images=0)
    assert len(trainer.train_images) == 3 * trainer.group_size
    trainer.fit()
    assert [int(path.name.removeprefix("step-")) for path in trainer.checkpoints.all()] == steps


@pytest.mark.parametrize("what", ["loss", "style"])
def test_a_measure_that_is_not_finite_costs_one_epoch(
    stage: Callable, monkeypatch: pytest.MonkeyPatch, what: str, capsys: pytest.CaptureFixture
) -> None:
    """NaN on a held-out image, or in a sample, after epoch 1: epoch 2 is published and the record is whole JSON."""
    validate, distances = Validator.validate, validation.style_distances

    def broken(validator: Validator, epoch: int, step: int, loss: Callable) -> EpochResult:
        extra = float("nan") if epoch == 1 else 0.0
        if what == "style":
            monkeypatch.setattr(validation, "style_distances", lambda *args: [d + extra for d in distances(*args)])
            return validate(validator, epoch, step, loss)
        return validate(validator, epoch, step, lambda batch: loss(batch) + extra)

    monkeypatch.setattr(Validator, "validate", broken)
    record = json.loads((stage(epochs=2, patience=None) / "record.json").read_text())
    assert record["epoch"] == 2
    assert "1 of which have diverged" in record["reason"]
    assert [row["score"] is None for row in record["epochs"]] == [False, True, False]
    if what == "loss":
        assert record["epochs"][1]["each"] == [None, None]
        assert "epoch 1: held-out loss not finite, train probe not finite" in capsys.readouterr().out


def not_finite(batch: Batch) -> torch.Tensor:
    return torch.full_like(batch.weights, float("nan"))


@pytest.mark.parametrize(("precision", "cure"), [("fp32", "weights of base.model"), ("bf16", "to bf16 or fp32")])
def test_a_base_without_finite_losses_is_refused(
    make: Callable, monkeypatch: pytest.MonkeyPatch, precision: str, cure: str
) -> None:
    """Before anything is trained, naming an image and what can be done: nothing could be compared with it."""
    trainer = make(precision=precision)
    monkeypatch.setattr(trainer, "loss", not_finite)
    with pytest.raises(TrainingError, match=rf"no finite loss on 2 of 2 held-out images, e\.g\. .*\.png.*{cure}"):
        trainer.validate()
    assert not trainer.state.epochs


def latents(folder: str, names: slice) -> list[torch.Tensor]:
    """Posterior means of some sample images at 128 px, by the pocket base's autoencoder."""
    vae = load_pipeline(ROOT / "data" / "base" / "pocket").vae
    files = sorted((ROOT / "data" / "samples" / folder).glob("*.png"))[names]
    with torch.no_grad():
        return [vae.encode(pixels(file, 128)).latent_dist.mean[0] for file in files]


def test_statistics_of_known_latents() -> None:
    """A ramp of slope 1 across: contrast 1, 2 and 4 across, none down."""
    ramp = torch.arange(8.0).expand(1, 8, 8)
    assert style_statistics(ramp).tolist() == pytest.approx([3.5, ramp.std().item(), 1, 0, 2, 0, 4, 0])


def test_an_image_of_the_style_has_about_one() -> None:
    """Random latents of one kind are about their own spread away; others far more."""
    stream = torch.Generator().manual_seed(0)
    kind = [torch.randn(4, 16, 16, generator=stream) for _ in range(32)]
    same, other = torch.randn(4, 16, 16, generator=stream), 2 * torch.randn(4, 16, 16, generator=stream)
    near, far = style_distances([same, other], kind)
    assert 0.5 < near < 1.6
    assert far > 3 * near


def test_anime_is_nearer_to_anime_than_photos_of_the_same_people() -> None:
    """Counterparts against the people they show: each pair is in the right order, and by far on average."""
    style = latents("anime", slice(0, 240, 24))
    anime, photos = (style_distances(latents(folder, slice(0, 6)), style) for folder in ("counterparts", "people"))
    assert sum(photos) > 1.25 * sum(anime)  # 1.32 with the second edition's autoencoder

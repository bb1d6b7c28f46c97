"""What a batch holds: captions, flips, posterior samples and noise follow from seed, epoch and image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anime_lora.errors import DatasetError
from anime_lora.training.batch import Example, in_groups, read_images
from anime_lora.training.validation import STRATA, held_out_batch
from tests.support.tiny import write_dataset


def test_the_last_group_is_what_is_left() -> None:
    """Seven in groups of three: 3, 3, 1."""
    assert in_groups(range(7), 3) == [[0, 1, 2], [3, 4, 5], [6]]


def test_each_image_has_its_own_caption(make: Callable) -> None:
    """Without caption options an image is trained on with the text that the dataset has, and the UNet gets it."""
    trainer = make(batch_size=6)
    (examples,) = trainer.epoch_groups(0)
    batch = trainer.batches.build(examples)
    assert batch.captions == [example.image.text for example in examples]
    assert len(set(batch.captions)) == len(examples) == 6
    conditioning: list[torch.Tensor] = []
    trainer.pipe.unet.register_forward_pre_hook(lambda _, inputs: conditioning.append(inputs[2]))
    trainer.loss(batch)
    assert torch.equal(conditioning[0], trainer.text_embeddings(batch.captions))


def test_of_several_captions_a_batch_holds_one(make: Callable) -> None:
    """Each epoch may take another; validation takes the first."""
    trainer = make(batch_size=6)
    image = replace(trainer.train_images[0], text="girl\nblue hair")
    taken = {trainer.batches.build([Example(epoch, image)]).captions[0] for epoch in range(12)}
    assert taken == {"girl", "blue hair"}
    assert held_out_batch(trainer.batches, image).captions == ["girl"] * STRATA


def test_flip_mirrors_about_every_other_epoch(make: Callable) -> None:
    """Over many epochs both latents of an image are used, about equally often."""
    trainer = make(flip=True)
    flips: list[bool] = []
    trainer.batches.posterior = lambda image, flip: flips.append(flip) or trainer.latents.get(image, flip)
    for epoch in range(100):
        trainer.batches.build([Example(epoch, trainer.train_images[0])])
    assert 30 < sum(flips) < 70


def test_a_class_image_dealt_twice_gets_noise_twice(make: Callable) -> None:
    """Beside each training image of an epoch the one class image has other noise and a timestep of its own."""
    trainer = make(prior_images=1, batch_size=6)
    batch = trainer.batches.build(trainer.epoch_groups(0)[0])
    count = len(trainer.train_images)
    assert len({tuple(target.flatten().tolist()) for target in batch.target[count:]}) == count
    assert len(set(batch.timesteps[count:].tolist())) > 1


def test_each_epoch_samples_the_posterior_anew(make: Callable) -> None:
    """Two epochs get different latents of one image: its mean, and noise of the posterior's deviation."""
    trainer = make()
    image = trainer.train_images[0]
    mean, log_variance = trainer.latents.get(image)
    log_variance.fill_(0.0)  # a deviation of one
    samples = [trainer.batches.samples([Example(epoch, image)])[0] for epoch in range(2)]
    latents = [trainer.batches._row(sample)[0] for sample in samples]
    assert not torch.equal(*latents)
    deviations = torch.cat([latent / trainer.batches.scaling - mean for latent in latents])
    assert float(deviations.std()) == pytest.approx(1, abs=0.15)


def test_a_dataset_that_cannot_be_trained_on_is_refused(tmp_path: Path) -> None:
    """No table, a damaged row, nothing to train on: each error names the file and what to do."""
    folder = write_dataset(tmp_path / "organize", count=0, holdout=1)
    with pytest.raises(DatasetError, match=r"no row with split train among 1: lower organize\.holdout_share"):
        read_images(folder)
    (folder / "metadata.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DatasetError, match=r"metadata\.jsonl is damaged.*run the organize stage again"):
        read_images(folder)
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(DatasetError, match="run the organize stage first"):
        read_images(folder)

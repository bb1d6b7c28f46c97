"""Class images: the base's own, generated once, trained on beside the others."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.training.batch import TrainingImage
from anime_lora.training.prior_preservation import class_images, class_prompts
from anime_lora.training.trainer import Trainer
from tests.support.tiny import CONCEPT, train_settings


def again(trainer: Trainer, cache: Path) -> list[TrainingImage]:
    """The class images asked for a second time."""
    return class_images(trainer.sampler, cache, class_prompts(trainer.settings, CONCEPT, trainer.train_images))


def test_prior_images_are_the_bases_own(make: Callable, tmp_path: Path) -> None:
    """They are generated once, shown beside each training image, and count with their weight."""
    trainer = make(prior_images=2, prior_weight=0.25, prior_prompt="c portrait")
    generated = trainer.class_images
    assert generated == again(trainer, tmp_path / "prior")
    assert [image.split for image in generated] == ["prior", "prior"]
    assert generated[0].pixel_sha256 != generated[1].pixel_sha256
    with Image.open(generated[0].path) as opened:
        assert opened.info["parameters"].startswith(f"{trainer.settings.prior_prompt}\nSteps: 2,")
    groups = trainer.epoch_groups(0)
    examples = [example for group in groups for example in group]
    assert [example.image.split for example in examples] == ["train"] * 6
    assert {example.prior for example in examples} == set(generated)
    batch = trainer.batches.build(groups[0])
    assert batch.weights.tolist() == [1, 1, 0.25, 0.25]
    assert batch.captions[2] == trainer.settings.prior_prompt


@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_class_image_is_generated_again(make: Callable, tmp_path: Path, size: int) -> None:
    """Emptied or cut, its file gives way to the same image; the whole one beside it stays as it is."""
    trainer = make(prior_images=2)
    generated = trainer.class_images
    before = generated[0].path.read_bytes(), generated[1].path.stat().st_mtime_ns
    os.truncate(generated[0].path, size)
    assert again(trainer, tmp_path / "prior") == generated
    assert (generated[0].path.read_bytes(), generated[1].path.stat().st_mtime_ns) == before


def test_class_images_are_asked_for_by_the_captions_without_the_trigger() -> None:
    """Each is named by a training caption less the trigger, in turn; held-out captions are not used."""
    images = [
        TrainingImage(name, Path(name), f"t c {name}", split, name, name)
        for name, split in (("one", "train"), ("two", "train"), ("three", "holdout"))
    ]
    assert class_prompts(train_settings(prior_images=3), CONCEPT, images) == ["c one", "c two", "c one"]
    assert class_prompts(train_settings(prior_images=1, prior_prompt="c x"), CONCEPT, images) == ["c x"]


@pytest.mark.parametrize(("share", "count"), [(1.0, 6), (0.5, 3), (0.1, 0)])
def test_a_share_of_the_training_images_has_a_class_image_beside_it(make: Callable, share: float, count: int) -> None:
    """They are dealt evenly: of six images, every one, every second, or none."""
    trainer = make(prior_images=2, prior_share=share)
    examples = [example for group in trainer.epoch_groups(0) for example in group]
    assert sum(example.prior is not None for example in examples) == count

"""Class images: the base's own, generated once, trained on beside the others."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.training.prior_preservation import class_images


def test_prior_images_are_the_bases_own(make: Callable, tmp_path: Path) -> None:
    """They are generated once, shown beside each training image, and count with their weight."""
    trainer = make(prior_images=2, prior_weight=0.25)
    generated = trainer.class_images
    assert generated == class_images(trainer.sampler, tmp_path / "prior")
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
    assert class_images(trainer.sampler, tmp_path / "prior") == generated
    assert (generated[0].path.read_bytes(), generated[1].path.stat().st_mtime_ns) == before

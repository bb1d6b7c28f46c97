"""The latent cache: by content, resampled, and never holding what is not finite."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.errors import DatasetError, TrainingError
from anime_lora.training.images import TrainingImage, read_images
from anime_lora.training.latent_cache import Latents, module_hash, pixels
from tests.support.tiny import tiny_pipeline

FREE = lambda: None  # noqa: E731


@pytest.fixture
def latents(tmp_path: Path) -> Latents:
    return Latents(tmp_path / "latents", tiny_pipeline().vae.eval(), 64)


@pytest.fixture
def images(dataset: Path) -> list[TrainingImage]:
    return read_images(dataset)


def test_mean_and_log_variance_are_the_posteriors(latents: Latents, images: list[TrainingImage]) -> None:
    """What is cached is what the VAE says, for the image and for its mirror image."""
    image = pixels(images[0].path, 64)
    for flip, shown in ((False, image), (True, image.flip(-1))):
        with torch.no_grad():
            wanted = latents.vae.encode(shown).latent_dist
        mean, log_variance = latents.get(images[0], flip)
        torch.testing.assert_close(mean, wanted.mean[0])
        torch.testing.assert_close(log_variance, wanted.logvar[0])


def test_nothing_is_encoded_twice(latents: Latents, images: list[TrainingImage]) -> None:
    """A second fill encodes nothing; an image with the same pixels under another id or name neither."""
    assert latents.fill(images, [False, True], FREE) == 16
    assert latents.fill(images, [False, True], FREE) == 0
    assert latents.fill([replace(images[0], id="other", name="other")], [False], FREE) == 0


def test_key_holds_everything_the_value_depends_on(latents: Latents, images: list[TrainingImage]) -> None:
    """Other pixels, size or VAE weights are encoded anew."""
    latents.fill(images[:1], [False], FREE)
    assert latents.fill([replace(images[0], pixel_sha256="0" * 64)], [False], FREE) == 1
    assert Latents(latents.folder, latents.vae, 32).fill(images[:1], [False], FREE) == 1
    other = tiny_pipeline().vae
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert Latents(latents.folder, other.eval(), 64).fill(images[:1], [False], FREE) == 1


def test_what_is_not_finite_is_refused_by_name(latents: Latents, images: list[TrainingImage]) -> None:
    """A NaN latent stops caching with the image's name, and leaves no file."""
    with torch.no_grad():
        latents.vae.quant_conv.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=images[0].name):
        latents.fill(images, [False], FREE)
    assert not list(latents.folder.rglob("*.safetensors"))


@pytest.mark.parametrize("content", [b"", b"short"])
def test_damaged_cache_file_is_made_again(latents: Latents, images: list[TrainingImage], content: bytes) -> None:
    """A cut file is not an error: the image is encoded again, to the same values."""
    wanted = latents.get(images[0])[0]
    file = next(latents.folder.rglob("*.safetensors"))
    file.write_bytes(content)
    again = Latents(latents.folder, latents.vae, 64)
    assert torch.equal(again.get(images[0])[0], wanted)
    assert torch.equal(Latents(latents.folder, latents.vae, 64).get(images[0])[0], wanted)


@pytest.mark.parametrize("value", [float("nan"), 0.25])
@pytest.mark.parametrize("part", ["mean", "logvar"])
def test_cached_value_that_changed_is_made_again(
    latents: Latents, images: list[TrainingImage], part: str, value: float
) -> None:
    """A value that is not what was written, finite or not, is the file's damage: it never reaches training."""
    wanted = latents.get(images[0])
    file = next(latents.folder.rglob("*.safetensors"))
    held = load_file(file)[part].clone()  # the file is mapped
    before = held.flatten()[:1].numpy().tobytes()
    assert before in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(before, np.float32(value).tobytes(), 1))
    assert not torch.equal(load_file(file)[part], held)
    again = Latents(latents.folder, latents.vae, 64)
    assert all(map(torch.equal, again.get(images[0]), wanted))
    assert torch.equal(load_file(file)[part], held)


def test_pixels_are_scaled_and_in_range(tmp_path: Path) -> None:
    """Any size becomes the size asked for; black is −1, white is 1."""
    array = np.zeros((10, 20, 3), np.uint8)
    array[:, 10:] = 255
    Image.fromarray(array).save(tmp_path / "x.png")
    found = pixels(tmp_path / "x.png", 16)
    assert found.shape == (1, 3, 16, 16)
    assert found.min() == -1
    assert found.max() == 1


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    """A file that is no image is a DatasetError with its path."""
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(DatasetError, match=r"x\.png cannot be read"):
        pixels(tmp_path / "x.png", 16)


def test_hash_follows_the_weights() -> None:
    """Equal weights, equal hash; one changed value, another."""
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert module_hash(one) == module_hash(other)
    with torch.no_grad():
        other.weight[0, 0] += 1
    assert module_hash(one) != module_hash(other)


def test_visits_sample_the_posterior_anew(make: Callable) -> None:
    """Two epochs see different samples of one image, around the same mean."""
    from anime_lora.training.batch import Visit

    run = make()
    image = run.images[0]
    with torch.no_grad():
        run.batches.latents.get(image)[1].fill_(0.0)
    found = [run.batches._sample(epoch, image, image.id)[0] for epoch in range(2)]
    assert not torch.equal(*found)
    assert Visit(0, image).prior is None

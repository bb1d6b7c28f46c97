"""The latent cache: by content, resampled, and never holding what is not finite."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anime_lora.errors import DatasetError, TrainingError
from anime_lora.training.batch import TrainingImage, read_images
from anime_lora.training.latent_cache import LatentCache, module_hash, pixels
from tests.support.tiny import tiny_pipeline


def no_stop() -> None:
    """No stop is ever requested."""


@pytest.fixture
def latents(tmp_path: Path) -> LatentCache:
    return LatentCache(tmp_path / "latents", tiny_pipeline().vae.eval(), 64)


@pytest.fixture
def images(dataset: Path) -> list[TrainingImage]:
    return read_images(dataset)


def test_mean_and_log_variance_are_the_posteriors(latents: LatentCache, images: list[TrainingImage]) -> None:
    """What is cached is what the VAE says, for the image and for its mirror image."""
    image = pixels(images[0].path, 64)
    for flip, encoded in ((False, image), (True, image.flip(-1))):
        with torch.no_grad():
            expected = latents.vae.encode(encoded).latent_dist
        mean, log_variance = latents.get(images[0], flip)
        torch.testing.assert_close(mean, expected.mean[0])
        torch.testing.assert_close(log_variance, expected.logvar[0])


def test_nothing_is_encoded_twice(latents: LatentCache, images: list[TrainingImage]) -> None:
    """A second fill encodes nothing; an image with the same pixels under another id or name neither."""
    assert latents.fill(images, [False, True], no_stop) == 16
    assert latents.fill(images, [False, True], no_stop) == 0
    assert latents.fill([replace(images[0], id="other", name="other")], [False], no_stop) == 0


def test_key_holds_everything_the_value_depends_on(latents: LatentCache, images: list[TrainingImage]) -> None:
    """Other pixels, size or VAE weights are encoded anew."""
    latents.fill(images[:1], [False], no_stop)
    assert latents.fill([replace(images[0], pixel_sha256="0" * 64)], [False], no_stop) == 1
    assert LatentCache(latents.folder, latents.vae, 32).fill(images[:1], [False], no_stop) == 1
    other = tiny_pipeline().vae
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert LatentCache(latents.folder, other.eval(), 64).fill(images[:1], [False], no_stop) == 1


def test_an_image_that_changed_during_the_run_is_not_encoded(
    latents: LatentCache, images: list[TrainingImage], tmp_path: Path
) -> None:
    """The stage looks at all images when it starts; the cache looks at each one that it reads."""
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64)).save(other)
    with pytest.raises(DatasetError, match=r"other\.png changed after organize"):
        latents.fill([replace(images[0], path=other, pixel_sha256="0" * 64)], [False], no_stop)


def test_what_is_not_finite_is_refused_by_name(latents: LatentCache, images: list[TrainingImage]) -> None:
    """A NaN latent stops caching with the image's name, and leaves no file."""
    with torch.no_grad():
        latents.vae.quant_conv.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=images[0].name):
        latents.fill(images, [False], no_stop)
    assert not list(latents.folder.rglob("*.safetensors"))


@pytest.mark.parametrize("content", [b"", b"short"])
def test_damaged_cache_file_is_made_again(latents: LatentCache, images: list[TrainingImage], content: bytes) -> None:
    """A cut file is not an error: the image is encoded again, to the same values."""
    expected = latents.get(images[0])[0]
    file = next(latents.folder.rglob("*.safetensors"))
    file.write_bytes(content)
    again = LatentCache(latents.folder, latents.vae, 64)
    assert torch.equal(again.get(images[0])[0], expected)
    assert torch.equal(LatentCache(latents.folder, latents.vae, 64).get(images[0])[0], expected)


@pytest.mark.parametrize("value", [float("nan"), 0.25])
@pytest.mark.parametrize("part", ["mean", "logvar"])
def test_cached_value_that_changed_is_made_again(
    latents: LatentCache, images: list[TrainingImage], part: str, value: float
) -> None:
    """A value that is not what was written, finite or not, is the file's damage: it never reaches training."""
    expected = latents.get(images[0])
    file = next(latents.folder.rglob("*.safetensors"))
    stored = load_file(file)[part].clone()  # the file is mapped
    before = stored.flatten()[:1].numpy().tobytes()
    assert before in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(before, np.float32(value).tobytes(), 1))
    assert not torch.equal(load_file(file)[part], stored)
    again = LatentCache(latents.folder, latents.vae, 64)
    assert all(map(torch.equal, again.get(images[0]), expected))
    assert torch.equal(load_file(file)[part], stored)


def test_pixels_are_scaled_and_in_range(tmp_path: Path) -> None:
    """Any size becomes the size asked for; black is −1, white is 1."""
    array = np.zeros((10, 20, 3), np.uint8)
    array[:, 10:] = 255
    Image.fromarray(array).save(tmp_path / "x.png")
    values = pixels(tmp_path / "x.png", 16)
    assert values.shape == (1, 3, 16, 16)
    assert values.min() == -1
    assert values.max() == 1


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

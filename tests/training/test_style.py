"""Style from latents: the project's own images of the style are near, the same people as photos are far."""

import pytest
import torch

from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.training.latent_cache import pixels
from anime_lora.training.style import distances, statistics
from tests.support.tiny import ROOT


def latents(folder: str, names: slice) -> list[torch.Tensor]:
    """Posterior means of some sample images at 128 px, by the pocket base's autoencoder."""
    vae = load_pipeline(ROOT / "data" / "base" / "pocket").vae
    files = sorted((ROOT / "data" / "samples" / folder).glob("*.png"))[names]
    with torch.no_grad():
        return [vae.encode(pixels(file, 128)).latent_dist.mean[0] for file in files]


def test_statistics_of_known_latents() -> None:
    """A ramp of slope 1 across: contrast 1, 2 and 4 across, none down."""
    ramp = torch.arange(8.0).expand(1, 8, 8)
    found = statistics(ramp).tolist()
    assert found == pytest.approx([3.5, ramp.std().item(), 1, 0, 2, 0, 4, 0])


def test_a_image_of_the_style_has_about_one() -> None:
    """Random latents of one kind are about their own spread away; others far more."""
    stream = torch.Generator().manual_seed(0)
    kind = [torch.randn(4, 16, 16, generator=stream) for _ in range(32)]
    same, other = torch.randn(4, 16, 16, generator=stream), 2 * torch.randn(4, 16, 16, generator=stream)
    near, far = distances([same, other], kind)
    assert 0.5 < near < 1.6
    assert far > 3 * near


def test_anime_is_nearer_to_anime_than_photos_of_the_same_people() -> None:
    """Counterparts against the people they show: each pair is in the right order, and by far on average."""
    style = latents("anime", slice(0, 240, 24))
    anime, photos = (distances(latents(folder, slice(0, 6)), style) for folder in ("counterparts", "people"))
    assert sum(photos) > 1.4 * sum(anime)

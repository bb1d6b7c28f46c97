"""The autoencoder's loss, and its latents when they are normalised."""

import numpy as np
import torch

from pocket.models import shapes
from pocket.training.autoencoder import encode, normalise, reconstruction, to_tensor


def test_normalised_latents_decode_the_same() -> None:
    """Folding gives every channel mean 0 and deviation 1 and leaves the reconstruction as it was."""
    torch.manual_seed(0)
    vae = shapes.autoencoder().eval()
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with torch.no_grad():
        before = vae.decode(vae.encode(to_tensor(images)).latent_dist.mean).sample
        normalise(vae, encode(vae, images), 0.05)
        latents = encode(vae, images)
        after = vae.decode(latents).sample
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(len(latents[0])), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(len(latents[0])), atol=1e-4, rtol=0)


def test_reconstruction_equals_a_hand_computed_number() -> None:
    """A constant error has no edge term."""
    loss = reconstruction(torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(loss, torch.tensor(8 * 0.25 + 0.5 * 0.5))

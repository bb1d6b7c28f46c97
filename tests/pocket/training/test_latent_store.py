"""What batches are sampled from."""

from pathlib import Path

import numpy as np
import torch

from pocket.models import shapes
from pocket.training.latent_store import LatentStore, to_device
from pocket.training.live_corpus import RENDERED, SIDE, WITH_EDGES, ImageArrays
from tests.pocket.training.tiny import TINY, tiny_recipe


def test_the_store_gives_each_image_its_own_latents_captions_and_edges(tmp_path: Path) -> None:
    """Samples hold latents, token ids and edges of their own image, mirrored together; only rendered images occur."""
    recipe = tiny_recipe()
    arrays = ImageArrays.open(tmp_path, recipe.images, 77, create=True)
    rng = np.random.default_rng(0)
    patterns = rng.random((2, SIDE, SIDE)) < 0.1
    for pattern, index in zip(patterns, (3, 7), strict=True):
        arrays.pixels[index] = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        arrays.tokens[index] = index
        arrays.edges[index] = np.packbits(pattern)
    arrays.state[[3, 7]] = RENDERED, WITH_EDGES
    vae = shapes.autoencoder(TINY).eval()
    store = LatentStore(vae, arrays, recipe, torch.Generator().manual_seed(0))
    assert store.index().tolist() == [3, 7]
    assert store.index(with_edges=True).tolist() == [7]
    batch = store.sample(64)
    assert set(batch.index.tolist()) == {3, 7}
    assert torch.equal(batch.ids, batch.index[:, None].expand(-1, 77))
    alpha = shapes.scheduler().alphas_cumprod[batch.times][:, None, None, None]
    clean = alpha.sqrt() * batch.noisy - (1 - alpha).sqrt() * batch.velocity
    for index in (3, 7):
        images = to_device(arrays.pixels[index][None], store.device)
        for mirrored, image in ((False, images), (True, images.flip(-1))):
            chosen = (batch.index == index) & (batch.mirrored == mirrored)
            with torch.no_grad():
                expected = vae.encode(image).latent_dist.mean
            assert (clean[chosen] - expected).std() < 1.2 * recipe.base.latent_noise
    unpacked = store.edge_images(torch.tensor([7, 7]), torch.tensor([False, True]))
    assert np.array_equal(unpacked[0, 0].numpy(), patterns[1])
    assert np.array_equal(unpacked[1, 2].numpy(), patterns[1][:, ::-1])

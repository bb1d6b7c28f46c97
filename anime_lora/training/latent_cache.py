"""Latents cached by content: the VAE's posterior mean and log-variance per image, sampled anew in each epoch."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from anime_lora.diffusion.tensor_file import hash_tensors, serialize
from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import BadImageError, DatasetError, TrainingError
from anime_lora.files import write_bytes
from anime_lora.images import read_rgb
from anime_lora.progress import track
from anime_lora.training.batch import Posterior, TrainingImage, check_images

IN_MEMORY = 4096
"""Posteriors kept in memory; more are read from disk in each epoch."""


def module_hash(module: torch.nn.Module) -> str:
    """Hex sha256 over a module's weights: names, shapes and values, in the module's order."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def pixels(path: Path, size: int) -> Tensor:
    """An image as (1, 3, `size`, `size`) in [-1, 1], scaled by Lanczos when it has another size."""
    try:
        image = read_rgb(path).resize((size, size), Image.Resampling.LANCZOS)
    except BadImageError as error:
        raise DatasetError(f"{error}: run the organize stage again") from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


class LatentCache:
    """A folder of cached posteriors: key = (pixel sha256, transform, VAE weights, dtype).

    Encoding is one image at a time, so that what an image's latent is does not depend on its neighbours.
    """

    def __init__(self, folder: Path, vae: AutoencoderKL, resolution: int) -> None:
        self.folder, self.vae, self.resolution = folder, vae, resolution
        self._vae_hash = module_hash(vae)
        self._memory: dict[str, Posterior] = {}

    def _path(self, image: TrainingImage, flip: bool) -> Path:
        transform = f"lanczos-{self.resolution}{'-flip' if flip else ''}"
        key = "\x1f".join([image.pixel_sha256, transform, self._vae_hash, "fp32", "posterior-1"])
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def missing(self, images: Sequence[TrainingImage], flips: Iterable[bool]) -> list[tuple[TrainingImage, bool]]:
        """What of `images` × `flips` is not cached yet."""
        sides = list(flips)
        return [(p, f) for p in images for f in sides if not self._path(p, f).is_file()]

    def fill(self, images: Sequence[TrainingImage], flips: Iterable[bool], on_image: Callable[[], None]) -> int:
        """Encode what is not cached and return how many images that were; `on_image` is called after each.

        Raises:
            DatasetError: an image was changed after organize.
            TrainingError: a latent is not finite (names the image).
        """
        missing = self.missing(images, flips)
        for image, flip in track(missing, "train", "encode images", len(missing), unit="image"):
            self._write(self._path(image, flip), self._encode(image, flip))
            on_image()
        return len(missing)

    @torch.no_grad()
    def _encode(self, image: TrainingImage, flip: bool) -> Posterior:
        check_images([image])  # hours may lie between the start of the run and this
        values = pixels(image.path, self.resolution)
        values = values.flip(-1) if flip else values
        posterior = self.vae.encode(values.to(self.vae.device)).latent_dist
        mean, log_variance = posterior.mean[0].float().cpu(), posterior.logvar[0].float().cpu()
        if not (mean.isfinite().all() and log_variance.isfinite().all()):
            raise TrainingError(
                f"the latent of {image.name} is not finite (NaN or infinity): look at the image, "
                "or at the base's VAE if every image fails; nothing was cached for it"
            )
        return Posterior(mean, log_variance)

    @staticmethod
    def _write(path: Path, posterior: Posterior) -> None:
        tensors = {"mean": posterior.mean, "logvar": posterior.log_variance}
        write_bytes(path, serialize(tensors, {}, {"sha256": ""}))

    def get(self, image: TrainingImage, flip: bool = False) -> Posterior:
        """The posterior of one image, from memory or disk; encoded again when its file is not as it was written."""
        path = self._path(image, flip)
        posterior = self._memory.get(path.name)
        if posterior is not None:
            return posterior
        try:
            tensors = load_file(path)
            posterior = Posterior(tensors["mean"], tensors["logvar"])
            # a value that changed on the disk may still be finite: only the hash tells
            if read_header(path).metadata["sha256"] != hash_tensors(tensors):
                raise ValueError("not what was written")
        except Exception:  # safetensors raises its own, KeyError or OSError: whichever, the cure is the same
            posterior = self._encode(image, flip)
            self._write(path, posterior)
        if len(self._memory) < IN_MEMORY:
            self._memory[path.name] = posterior
        return posterior

"""Prior preservation: images the base itself generates of the class, so that training does not lose what it knew."""

import hashlib
from pathlib import Path

from anime_lora.diffusion.rng import seed_from
from anime_lora.errors import BadImageError
from anime_lora.files import write_bytes
from anime_lora.images import png_bytes, read_rgb
from anime_lora.progress import track
from anime_lora.training.batch import TrainingImage
from anime_lora.training.validation import Sampler


def class_images_folder(cache: Path, weights_sha256: str, configs_sha256: str) -> Path:
    """Where class images of a base lie, known by the hashes of its weights and configs."""
    return cache / "prior" / f"{seed_from('prior base', weights_sha256, configs_sha256):016x}"


def class_images(sampler: Sampler, folder: Path, most: int | None = None) -> list[TrainingImage]:
    """`train.prior_images` images of `train.prior_prompt`; generated once per base and settings, then from `folder`,
    which is this base's. Past the first `most`, only those that are there.

    To be called before training: the adapters change nothing yet, so the base alone generates.
    """
    settings, accelerator = sampler.settings, sampler.accelerator
    if settings.prior_images == 0:
        return []
    sampling = (settings.validation_steps, settings.validation_guidance, sampler.resolution)
    key = seed_from("prior folder", settings.prior_prompt, *sampling, sampler.prediction_type, settings.precision)
    # other steps, size or precision give other images: each has a folder of its own
    files = [folder / f"{key:016x}" / f"{i:05d}.png" for i in range(settings.prior_images)]
    usable = {i: file for i, file in enumerate(files) if most is None or i < most or file.is_file()}
    if accelerator.is_main_process:
        missing = [(i, file) for i, file in usable.items() if not _is_whole(file)]
        for i, file in track(missing, "train", "generate class images", len(missing), unit="image"):
            seed = seed_from("prior", i) % 2**32
            image = sampler.decode(sampler.sample(settings.prior_prompt, seed))
            write_bytes(file, png_bytes(image, sampler.parameters(settings.prior_prompt, seed)))
    accelerator.wait_for_everyone()
    return [_class_image(file, settings.prior_prompt) for file in usable.values()]


def _is_whole(file: Path) -> bool:
    """Whether an image is there and can be read to its end."""
    try:
        read_rgb(file)
    except BadImageError:
        return False
    return True


def _class_image(file: Path, prompt: str) -> TrainingImage:
    digest = hashlib.sha256(read_rgb(file).tobytes()).hexdigest()
    return TrainingImage(digest, file, prompt, "prior", digest, f"class image {file.name}")

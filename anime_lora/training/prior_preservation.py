"""Prior preservation: images the base itself generates of the class, so that training does not lose what it knew."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from anime_lora.config.section import Concept
from anime_lora.config.train import Train
from anime_lora.diffusion.rng import seed_from
from anime_lora.errors import BadImageError
from anime_lora.files import write_bytes
from anime_lora.images import png_bytes, read_rgb
from anime_lora.progress import track
from anime_lora.training.batch import TrainingImage, of_split
from anime_lora.training.validation import Sampler


def class_images_folder(cache: Path, weights_sha256: str, configs_sha256: str) -> Path:
    """Where class images of a base lie, known by the hashes of its weights and configs."""
    return cache / "prior" / f"{seed_from('prior base', weights_sha256, configs_sha256):016x}"


def class_prompts(settings: Train, concept: Concept, images: Sequence[TrainingImage]) -> list[str]:
    """The prompt of each class image: `train.prior_prompt`, or a training caption without the trigger.

    One sentence for all would let the class images of other attributes take on the style.
    """
    if settings.prior_prompt is not None:
        return [settings.prior_prompt] * settings.prior_images
    texts = [image.text for image in sorted(of_split(images, "train"), key=lambda image: image.id)]
    trigger = re.compile(rf"(?<!\w){re.escape(concept.trigger)}(?!\w)")
    plain = [" ".join(trigger.sub("", text).split()).strip(", ") or concept.class_name for text in texts]
    return [plain[i % len(plain)] for i in range(settings.prior_images)]


def class_images(
    sampler: Sampler, folder: Path, prompts: Sequence[str], most: int | None = None
) -> list[TrainingImage]:
    """An image of each of `prompts`; generated once per base and settings, then from `folder`, which is this base's.
    Past the first `most`, only those that are there.

    To be called before training: the adapters change nothing yet, so the base alone generates.
    """
    settings, accelerator = sampler.settings, sampler.accelerator
    sampling = (settings.validation_steps, settings.validation_guidance, sampler.resolution)
    # other steps, size or precision give other images: each has a folder of its own
    key = seed_from("class images", *sampling, sampler.prediction_type, settings.precision)
    files = {i: folder / f"{key:016x}" / f"{i:05d}-{seed_from(prompt):016x}.png" for i, prompt in enumerate(prompts)}
    usable = {i: file for i, file in files.items() if most is None or i < most or file.is_file()}
    if accelerator.is_main_process and usable:
        missing = [(i, file) for i, file in usable.items() if not _is_whole(file)]
        for i, file in track(missing, "train", "generate class images", len(missing), unit="image"):
            seed = seed_from("prior", i) % 2**32
            image = sampler.decode(sampler.sample(prompts[i], seed))
            write_bytes(file, png_bytes(image, sampler.parameters(prompts[i], seed)))
    accelerator.wait_for_everyone()
    return [_class_image(file, prompts[i]) for i, file in usable.items()]


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

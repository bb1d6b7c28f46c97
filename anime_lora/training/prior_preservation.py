"""Prior preservation: images the base itself generates of the class, so that training does not lose what it knew."""

import hashlib
from pathlib import Path

from anime_lora.diffusion.rng import seed_from
from anime_lora.errors import BadImageError
from anime_lora.files import write_bytes
from anime_lora.images import png_bytes, read_rgb
from anime_lora.progress import track
from anime_lora.training import preview
from anime_lora.training.images import TrainingImage
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import Run
from anime_lora.training.validation import eval_mode


def folder(cache: Path, base: dict[str, str]) -> Path:
    """Where class images of `base` lie; `base` as in the run's record."""
    return cache / "prior" / f"{seed_from('prior base', base['weights_sha256'], base['configs_sha256']):016x}"


def class_images(run: Run, cache: Path, stop: Stop, most: int | None = None) -> list[TrainingImage]:
    """`train.prior_images` images of `train.prior_prompt`; generated once per base and settings, then from `cache`, a
    folder of this base. Past the first `most`, only those that are there.

    Called before training: the adapters change nothing yet, so the base alone generates.
    """
    settings = run.settings
    if settings.prior_images == 0:
        return []
    sampling = (settings.validation_steps, settings.validation_guidance, run.batches.latents.size)
    key = seed_from("prior folder", settings.prior_prompt, *sampling, run.batches.prediction, settings.precision)
    places = [(i, cache / f"{key:016x}" / f"{i:05d}.png") for i in range(settings.prior_images)]
    wanted = [(i, file) for i, file in places if most is None or i < most or file.is_file()]
    if run.accelerator.is_main_process:
        missing = [(i, file) for i, file in wanted if not _whole(file)]
        with eval_mode(run):
            for i, file in track(missing, "train", "generate class images", len(missing), unit="image"):
                seed = seed_from("prior", i) % 2**32
                image = preview.decode(run, preview.sample(run, settings.prior_prompt, seed, stop))
                write_bytes(file, png_bytes(image, preview.parameters(run, settings.prior_prompt, seed)))
    run.accelerator.wait_for_everyone()
    return [_class_image(file, settings.prior_prompt) for _, file in wanted]


def _whole(file: Path) -> bool:
    """Whether an image is there and can be read to its end."""
    try:
        read_rgb(file)
    except BadImageError:
        return False
    return True


def _class_image(file: Path, prompt: str) -> TrainingImage:
    digest = hashlib.sha256(read_rgb(file).tobytes()).hexdigest()
    return TrainingImage(digest, file, prompt, "prior", digest, f"class image {file.name}")

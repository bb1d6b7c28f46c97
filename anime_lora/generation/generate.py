"""`anime-lora generate`: from the options to images in a folder.

Mistakes are answered before torch and diffusers are loaded.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from anime_lora.config.load import Params
from anime_lora.config.section import Base
from anime_lora.files import sha256_file
from anime_lora.generation import infotext
from anime_lora.generation.axes import Grid
from anime_lora.generation.infotext import Model
from anime_lora.generation.job import Job
from anime_lora.generation.output import OutputFolder
from anime_lora.generation.request import Options, Request, read_request
from anime_lora.generation.sources import read_source
from anime_lora.images import png_bytes
from anime_lora.progress import Progress
from anime_lora.sampling.grids import Sheet, compose

STAGE = "generate"
WIDTH = 2400
"""Widest grid, in pixels, about."""
TRAINED_ON = "anime_lora.base_sha256"
"""Where our LoRA files name their base."""
SINGLE_FILE_BLOCKS = (128, 256, 512, 512)
"""Channels of the VAE of SD 1.x and 2.x, which is what a single file holds."""


def generate(options: Options, params: Params) -> list[Path]:
    """Generate what the options ask for; prints what cannot be done as asked.

    Returns:
        the files of the images, in the order of the jobs, then those of the grids.

    Raises:
        AnimeLoraError: a value is none, or a file is missing, damaged or does not fit.
    """
    request = read_request(options, params, _image_multiple(params.base))
    folder = OutputFolder(options.out)
    for note in request.notes:
        print(f"note: {note}", flush=True)
    files = _generate_jobs(request, params, folder)
    sheets = [folder.save(png_bytes(_sheet(grid, files)), ".png", "grid-") for grid in request.grids]
    return [*(files[job] for job in request.jobs), *sheets]


def _image_multiple(base: Base) -> int:
    """Pixels in whose steps the base makes widths and heights: how much its VAE reduces an image."""
    folder = Path(base.model)
    if not folder.is_dir():
        from anime_lora.diffusion.base_model import locate  # loads torch and diffusers, which takes seconds

        folder = locate(base)
    try:
        channels = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))["block_out_channels"]
    except (OSError, ValueError, KeyError):  # a single file, or damaged: loading it says so
        channels = SINGLE_FILE_BLOCKS
    return int(2 ** (len(channels) - 1))


def _generate_jobs(request: Request, params: Params, folder: OutputFolder) -> dict[Job, Path]:
    from anime_lora.generation.engine import Engine

    bases: dict[str, list[Job]] = defaultdict(list)
    for job in request.jobs:
        bases[job.base].append(job)
    files: dict[Job, Path] = {}
    steps = sum(job.denoising_steps for job in request.jobs)
    with Progress(STAGE, "generate", steps, unit="step") as progress:
        for name, jobs in bases.items():
            base = (
                params.base
                if name == params.base.model
                else params.base.model_copy(update={"model": name, "revision": None})
            )
            engine = Engine(base, params.compute, jobs)
            for note in _other_models(request.model_hash, jobs, engine.model):
                print(f"note: {note}", flush=True)
            for job, image in engine.generate(jobs, request.batch, progress.update):
                source_hash = sha256_file(job.source) if job.source else None
                text = infotext.write(job, engine.model, source_hash)
                files[job] = folder.save(png_bytes(image, text), f"-{job.seed}.png")
                folder.note(files[job], job, {"sampler": job.scheduler or engine.model.sampler, "parameters": text})
    return files


def _other_models(model_hash: str, jobs: list[Job], model: Model) -> Iterator[str]:
    """A sentence where an earlier image, and for each LoRA that, was made with another base than this one."""
    here = f"this base is {model.sha256} ({model.name})"
    if not _are_one_hash(model_hash, model.sha256):
        yield f"the image was made with the model {model_hash}, {here}: base.model in params.yaml names another"
    for lora in dict.fromkeys(choice.lora for job in jobs for choice in job.loras):
        trained_on = lora.metadata.get(TRAINED_ON, "")
        if not _are_one_hash(trained_on, model.sha256):
            yield f"LoRA {lora.file} was trained on the base {trained_on[:16]}, {here}: it may show little of its style"


def _are_one_hash(one: str, other: str) -> bool:
    """Whether one is the other's beginning; nothing is known of an empty one."""
    return one.startswith(other) or other.startswith(one)


def _sheet(grid: Grid, files: dict[Job, Path]) -> Image.Image:
    """The grid as an image; where all of it was made from one source, that stands at the left."""
    first = grid.cells[0][0]
    columns, cells = list(grid.columns), [[files[job] for job in row] for row in grid.cells]
    with TemporaryDirectory() as folder:
        if first.source is not None:
            source = Path(folder) / "source.png"
            read_source(first.source, (first.width, first.height), first.crop).save(source)
            columns, cells = ["source", *columns], [[source, *row] for row in cells]
        aspect = first.width / first.height
        tile = max(96, min(first.height, int(WIDTH / (len(columns) * aspect + 0.7))))
        return compose(Sheet("grid", grid.title, columns, grid.rows, [[*row] for row in cells], aspect), tile)

"""From the options of one command to the jobs and grids it asks for; every mistake in them is one sentence."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from anime_lora.config.load import Params
from anime_lora.errors import BadImageError, SamplingError
from anime_lora.generation import axes, recipe, schedulers, values
from anime_lora.generation.axes import Grid
from anime_lora.generation.job import Control, Job
from anime_lora.generation.loras import FOLDERS, LoraChoice, LoraLibrary, project_lora
from anime_lora.generation.prompts import lora_tags, without_editing
from anime_lora.generation.recipe import Recipe
from anime_lora.generation.sources import Source, list_sources, read_crop, readable_sources
from anime_lora.images import escape_prompt, read_rgb


@dataclass(frozen=True)
class Options:
    """What the command line gives, as its text; None and () where it gives nothing."""

    prompts: tuple[str, ...] = ()
    prompt_file: Path | None = None
    negative: str | None = None
    source: Path | None = None
    strength: str | None = None
    crop: str | None = None
    seeds: tuple[str, ...] = ()
    steps: str | None = None
    guidance: str | None = None
    scheduler: str | None = None
    size: str | None = None
    clip_skip: str | None = None
    loras: tuple[str, ...] = ()
    no_lora: bool = False
    lora_folders: tuple[Path, ...] = ()
    again: Path | None = None
    """An image that is to be made again."""
    controlnet: str | None = None
    control_image: Path | None = None
    control_scale: str | None = None
    batch: str | None = None
    xyz: tuple[str, ...] = ()
    out: Path = Path("generated")


@dataclass(frozen=True)
class Request:
    """What is to be generated."""

    jobs: list[Job]
    """Without repeats."""
    grids: list[Grid]
    batch: int
    notes: list[str]
    """What cannot be done as asked, a sentence each."""
    model_hash: str
    """Of the base that an earlier image was made with; empty: any will do."""


def read_request(options: Options, params: Params, multiple: int) -> Request:
    """What the options ask for.

    Args:
        options: the command line.
        params: the project's settings, for everything that the options leave open.
        multiple: which widths and heights the base can make.

    Raises:
        AnimeLoraError: a value is none, a file is missing, or no LoRA has been trained yet.
    """
    batch = values.whole("--batch", options.batch or "1", 1, 64)
    library = LoraLibrary([*options.lora_folders, *FOLDERS])
    start = recipe.from_params(params) if options.again is None else recipe.from_image(options.again, params, library)
    start = _with_options(start, options, params.base.resolution, multiple)
    notes = list(start.notes)
    sources = _sources(options, start, notes)
    jobs = []
    for (prompt, loras), source, seed in product(
        _prompts(options, start, params, library, notes), sources, start.seeds
    ):
        plain = Job(
            base=params.base.model,
            prompt=prompt,
            negative_prompt=start.negative_prompt,
            seed=seed,
            steps=start.steps,
            guidance=start.guidance,
            width=(start.size or (0, 0))[0],
            height=(start.size or (0, 0))[1],
            scheduler=start.scheduler,
            clip_skip=start.clip_skip,
            loras=loras,
        )
        if source:
            plain = replace(plain, source=source.file, strength=start.strength, crop=source.crop)
        jobs.append(replace(plain, control=_control(options, params, plain)))
    parsed = [axes.parse(text, params, library) for text in options.xyz]
    grids = [grid for job in jobs for grid in axes.grids(job, parsed)] if parsed else []
    if grids:
        jobs = [job for grid in grids for row in grid.cells for job in row]
    for job in jobs:
        _check_steps(job)
    return Request(list(dict.fromkeys(jobs)), grids, batch, list(dict.fromkeys(notes)), start.model_hash)


def _with_options(start: Recipe, options: Options, resolution: int, multiple: int) -> Recipe:
    """The recipe with the values that the command line gives."""
    changes: dict[str, object] = {}
    if options.steps is not None:
        changes["steps"] = values.whole("--steps", options.steps, 1, 200)
    if options.guidance is not None:
        changes["guidance"] = values.number("--guidance", options.guidance, 1, 50, "7")
    if options.strength is not None:
        changes["strength"] = values.strength(options.strength)
    if options.crop is not None:
        changes["crop"] = read_crop(options.crop)
    if options.clip_skip is not None:
        changes["clip_skip"] = values.whole("--clip-skip", options.clip_skip, 1, 12)
    if options.seeds:
        changes["seeds"] = tuple(values.seeds(list(options.seeds)))
    if options.scheduler is not None:
        changes["scheduler"] = schedulers.canonical(options.scheduler)
    if options.negative is not None:
        changes["negative_prompt"] = options.negative
    width, height = start.size or (resolution, resolution)
    changes["size"] = values.size(options.size or f"{width}x{height}", multiple)
    return replace(start, **changes)  # type: ignore[arg-type]


def _prompts(
    options: Options, start: Recipe, params: Params, library: LoraLibrary, notes: list[str]
) -> list[tuple[str, tuple[LoraChoice, ...]]]:
    """Each prompt without tags, with the LoRAs it is generated with; what is left out is added to `notes`."""
    texts = [*options.prompts, *_read_prompts(options.prompt_file)] or start.prompts
    if len(options.prompts) > 2 and not any(" " in text for text in options.prompts):
        notes.append(f"{len(options.prompts)} prompts of one word each: put quotes around a prompt of several words")
    prompts = []
    for text in texts:
        plain, tags, unread = lora_tags(text)
        plain, replaced = without_editing(plain)
        notes += [*unread, *replaced]
        tagged = [LoraChoice(library.by_name(tag.name), tag.weight, tag.text_weight) for tag in tags]
        prompts.append((plain, _loras(options, start, library, tagged)))
    if not prompts:
        loras = _loras(options, start, library, [])
        concept = params.concept
        words = next((one.lora.trigger for one in loras if one.lora.trigger), f"{concept.trigger} {concept.class_name}")
        prompts = [(escape_prompt(f"{words} {params.validate_sample.source_prompt}"), loras)]
    return prompts


def _read_prompts(file: Path | None) -> list[str]:
    """The lines of a prompt file, without empty ones.

    Raises:
        SamplingError: it is missing, no text, or empty.
    """
    if file is None:
        return []
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise SamplingError(f"--prompts {file}: {error.strerror}: name a text file with one prompt a line") from error
    except UnicodeDecodeError as error:
        raise SamplingError(f"--prompts {file}: it is no UTF-8 text: save it as UTF-8, one prompt a line") from error
    if not any(lines):
        raise SamplingError(f"--prompts {file}: it is empty: write one prompt a line")
    return [line for line in lines if line]


def _loras(options: Options, start: Recipe, library: LoraLibrary, tagged: list[LoraChoice]) -> tuple[LoraChoice, ...]:
    """The LoRAs of a prompt: those of `--lora` and its tags, else the earlier image's, else the project's."""
    if options.no_lora and options.loras:
        raise SamplingError("--no-lora and --lora are both given: leave one of them out")
    if options.no_lora:
        return ()
    chosen = [*(library.choose(text) for text in options.loras), *tagged]
    if chosen:
        return tuple(chosen)
    return (LoraChoice(project_lora()),) if start.loras is None else start.loras


def _sources(options: Options, start: Recipe, notes: list[str]) -> list[Source | None]:
    """The images to turn into others; [None] for text to image. Those that cannot be read are named in `notes`.

    Raises:
        SamplingError: none is there, or can be read.
    """
    path = options.source or start.source
    if path is None:
        if start.from_source is not None:
            raise SamplingError(
                f"--from {options.again}: it was made from another image ({start.from_source}): give that by --source"
            )
        for name in ("strength", "crop"):
            if getattr(options, name) is not None:
                raise SamplingError(f"--{name} is for image to image: add --source IMAGE, or leave it out")
        return [None]
    files, problems = readable_sources(list_sources(path), start.crop)
    notes += problems
    return list(files)


def _control(options: Options, params: Params, job: Job) -> Control | None:
    """The ControlNet's part, where one is asked for.

    Raises:
        SamplingError: there is no ControlNet, no image to follow, or the image cannot be read.
    """
    if options.controlnet is None and options.control_image is None and options.control_scale is None:
        return None
    name = options.controlnet or params.validate_sample.controlnet
    if name is None:
        raise SamplingError(
            "there is no ControlNet for --control-image or --control-scale: name one by --controlnet FOLDER"
        )
    if options.control_image is None and job.source is None:
        raise SamplingError("the ControlNet has no image whose edges it could follow: add --control-image IMAGE")
    if options.control_image is not None:
        try:
            read_rgb(options.control_image)
        except BadImageError as error:
            raise SamplingError(f"--control-image {error}") from error
    scale = values.number("--control-scale", options.control_scale or "1", 0, 2, "0.8")
    return Control(name, options.control_image, scale)


def _check_steps(job: Job) -> None:
    if job.denoising_steps < 1:
        fewest = next(steps for steps in range(1, 10_000) if int(steps * (job.strength or 1)) >= 1)
        raise SamplingError(
            f"--steps {job.steps} x --strength {job.strength:g} leaves no denoising step: use --steps {fewest} or more"
        )

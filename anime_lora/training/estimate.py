"""What a training will do and cost, before hours are spent: counted from the settings, measured on a few real steps."""

from collections.abc import Iterator
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.base_model import locate
from anime_lora.training import measure, prior_preservation, sanity_checks
from anime_lora.training.checkpoint import room_on_disk
from anime_lora.training.images import TrainingImage, of_split, read_images
from anime_lora.training.stage import identity
from anime_lora.training.stop import listening
from anime_lora.training.text_embeddings import token_count, truncated
from anime_lora.training.trainer import Run, open_run

MIB = 2**20


def plan(  # noqa: PLR0917  the door: four sections, two folders
    settings: Train,
    concept: Concept,
    base: Base,
    compute: Compute,
    source: Path = paths.ORGANIZE,
    cache: Path = paths.CACHE,
) -> list[tuple[str, str]]:
    """Rows of (what, value); a row named `doubt` is something that is seldom meant.

    Encodes a few images into the latent cache and generates at most a step's class images, which stay for the real run;
    takes a few steps, which are thrown away.

    Raises:
        TrainingError: the training cannot succeed, with every reason; or it does not fit into memory or disk.
        DatasetError: there is no organized dataset.
        BaseModelError: the base is missing or broken.
    """
    images = read_images(source)
    device = machine.pick_device(compute.device)
    machine.check_device(settings, device, compute.processes)
    sanity_checks.refuse(settings, concept, images)
    path = locate(base)
    facts, mark = identity(settings, concept, base, path, images)
    with machine.deterministic(device), listening() as stop:
        run = open_run(settings, base, path, machine.new_accelerator(settings, device), (cache, mark))
        run.images = sorted(images, key=lambda image: image.id)
        with room_on_disk("latents and class images", cache), measure.fitting(run):
            run.images += prior_preservation.class_images(
                run, prior_preservation.folder(cache, facts["base"]), stop, run.group_size
            )
            return [
                *_counts(run, images, concept),
                *_costs(run, compute.processes),
                *(("doubt", each) for each in sanity_checks.doubts(settings, concept, images)),
            ]


def _counts(run: Run, images: list[TrainingImage], concept: Concept) -> Iterator[tuple[str, str]]:
    settings, train = run.settings, of_split(images, "train")
    tokenizer = run.pipe.tokenizer
    words = tokenizer.tokenize(concept.trigger)
    long = truncated(tokenizer, [image.text for image in images])
    longest = max(token_count(tokenizer, image.text) for image in images)
    yield "device", str(run.accelerator.device)
    yield "images", f"{len(train)} to train on, {len(images) - len(train)} held out"
    yield "visits per image", str(settings.epochs)
    yield "optimizer steps", f"{run.total_steps} ({-(-run.total_steps // settings.epochs)} per epoch)"
    group = settings.batch_size * settings.gradient_accumulation_steps
    yield "effective batch", f"{group} ({settings.batch_size} x {settings.gradient_accumulation_steps})"
    labels = ("effective learning rate", "effective rate of the text encoder")
    rates = zip(
        labels, sanity_checks.rates(settings).values(), sanity_checks.effective_rates(settings).values(), strict=False
    )
    yield from ((what, f"{moved:g} ({rate:g} x {moved / rate:g})") for what, rate, moved in rates)
    trained = sum(value.numel() for value in run.adapter().values())
    yield "trained weights", f"{trained / 1e6:.2f} million"
    yield "longest caption", f"{longest} of {tokenizer.model_max_length} tokens"
    yield "truncated captions", f"{len(long)}" + (f", e.g. {long[0][:60]}…" if long else "")
    yield "trigger", f"{concept.trigger} is {len(words)} tokens: {' '.join(words)}"


def _costs(run: Run, processes: int) -> Iterator[tuple[str, str]]:
    absent = run.settings.prior_images - len(of_split(run.images, "prior"))
    missing, encode = measure.encode_seconds(run, absent)
    held, generation = measure.validation_seconds(run)
    step = measure.step_seconds(run, processes)
    settings = run.settings
    split = [len(of_split(run.images, name)) for name in ("train", "holdout")]
    validated = sum(min(settings.heldout_images, count) for count in split)
    whole = missing * encode + absent * generation + run.total_steps * step
    whole += (settings.epochs + 1) * (validated * held + settings.validation_images * generation)
    disk = measure.disk_bytes(run, missing)
    before = f"{_duration(missing * encode)} to encode {missing} images"
    before += f" and {_duration(absent * generation)} to generate {absent} class images" if absent else ""
    yield "time per step", f"{step:.2f} s"
    yield "time in all", f"about {_duration(whole)}, of which {before}"
    memory = measure.memory_peak(run), measure.memory_total(run)
    yield "memory", f"{memory[0] / 2**30:.1f} of {memory[1] / 2**30:.1f} GiB"
    yield "checkpoint", f"{disk['checkpoint'] / MIB:.1f} MiB"
    parts = ", ".join(f"{name} {disk[name] / MIB:.1f}" for name in ("checkpoints", "adapters", "latents"))
    needed = disk["checkpoints"] + disk["adapters"] + disk["latents"]
    free = measure.room(needed, run.folder)
    yield "disk", f"{needed / MIB:.1f} MiB ({parts}) of {free / 2**30:.1f} GiB free"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else (f"{minutes} min {rest} s" if minutes else f"{rest} s")

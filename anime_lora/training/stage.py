"""The train stage: dataset and base in; adapter in two formats, record, curves and validation images out."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file

from anime_lora.config import paths
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.base_model import load_pipeline, locate
from anime_lora.errors import AdapterError, TrainingError
from anime_lora.files import check_no_foreign_files, fresh_folder, link_or_copy
from anime_lora.lora.export import ExportedFiles, export, write_kohya
from anime_lora.lora.metadata import TrainingFacts, file_metadata
from anime_lora.training import processes, record, sanity_checks
from anime_lora.training.batch import TrainingImage, check_images, of_split, read_images
from anime_lora.training.checkpoint import room_on_disk
from anime_lora.training.latent_cache import LatentCache
from anime_lora.training.prior_preservation import class_images, class_images_folder, class_prompts
from anime_lora.training.record import RunInputs, TrainingRecord, run_inputs
from anime_lora.training.selection import choose, scores
from anime_lora.training.text_embeddings import truncated
from anime_lora.training.trainer import Trainer, adapter_file, prepare_pipeline
from anime_lora.training.validation import Sampler, strip_file

DONE = ".done-"
"""Before the name of a work folder that is being deleted; the next run deletes what is left of it."""


def train(  # noqa: PLR0917  the door: four sections, three folders
    settings: Train,
    concept: Concept,
    base: Base,
    compute: Compute,
    organize: Path = paths.ORGANIZE,
    out: Path = paths.TRAIN,
    cache: Path = paths.CACHE,
) -> None:
    """Train the LoRA and publish its best epoch into `out`; work in progress lives under `cache`.

    Raises:
        AnimeLoraError: the dataset, base, settings or machine do not allow it; `out` is then as it was.
        SystemExit: code 75 after SIGTERM or SIGINT, with the work saved.
    """
    check_no_foreign_files(out, paths.WRITES[paths.TRAIN])
    device = machine.pick_device(compute.device)
    machine.check_device(settings, device, compute.processes)
    images = read_images(organize)
    if not machine.is_launched():  # else the process that launched this one has looked
        check_images(images)
    sanity_checks.check_training(settings, concept, images)
    base_path = locate(base)
    if compute.processes > 1 and not machine.is_launched():
        processes.launch(compute.processes, device)
        return
    inputs = run_inputs(settings, concept, base, base_path, images)
    with machine.deterministic(device), processes.errors_for_launcher(), processes.stop_on_signals() as stop:
        accelerator = machine.new_accelerator(settings, device)
        if accelerator.is_main_process:  # files and messages are the first process's
            _clear_finished(work_folder(cache, inputs))
            for warning in sanity_checks.training_warnings(settings, concept, images):
                print(f"warning: {warning}", flush=True)
        with room_on_disk("the work in progress", cache):
            trainer = open_trainer(inputs, base_path, images, accelerator, cache=cache, stop=stop)
            fill_latents(trainer, images)
            trainer.resume()
            with machine.room_in_memory(settings, accelerator.device):
                trainer.fit()
        if accelerator.is_main_process:
            with room_on_disk("the adapter", out), fresh_folder(out, paths.WRITES[paths.TRAIN]) as folder:
                publish(trainer, inputs, folder)
            _clear(trainer.folder)
        accelerator.wait_for_everyone()


def work_folder(cache: Path, inputs: RunInputs) -> Path:
    """Where the run keeps its work."""
    return cache / "train" / inputs.fingerprint[:16]


def open_trainer(
    inputs: RunInputs,
    base_path: Path,
    images: Sequence[TrainingImage],
    accelerator: Accelerator,
    *,
    cache: Path,
    stop: processes.Stop,
    most_class_images: int | None = None,
) -> Trainer:
    """The trainer on the base at `base_path`, with class images: generated where they are missing, at most so many.

    Raises:
        BaseModelError: the base cannot be loaded.
        TrainingError: the base cannot work at `base.resolution`, or the optimizer not here.
    """
    settings, resolution = inputs.settings, inputs.base.resolution
    pipe = load_pipeline(base_path, machine.DTYPES[settings.precision])
    native, multiple = pipe.unet.config.sample_size * pipe.vae_scale_factor, pipe.vae_scale_factor * 8
    if resolution % multiple and resolution != native:
        raise TrainingError(
            f"base.resolution is {resolution}, but the base works in steps of {multiple} pixels; its own is {native}"
        )
    latents = LatentCache(cache / "latents", pipe.vae, resolution)
    prepare_pipeline(pipe, settings, accelerator.device)
    sampler = Sampler(pipe, settings, accelerator, resolution, stop)
    prior_folder = class_images_folder(cache, inputs.base_weights_sha256, inputs.base_configs_sha256)
    prompts = class_prompts(settings, inputs.concept, images)
    return Trainer(
        pipe,
        settings,
        accelerator,
        latents,
        [*sorted(images, key=lambda image: image.id), *class_images(sampler, prior_folder, prompts, most_class_images)],
        folder=work_folder(cache, inputs),
        fingerprint=inputs.fingerprint,
        name=f"{inputs.concept.trigger}_{inputs.concept.class_name}",
        stop=stop,
    )


def fill_latents(trainer: Trainer, images: Sequence[TrainingImage]) -> None:
    """Encode what the latent cache lacks (first process only; the others wait); warn of captions that are cut."""
    if trainer.accelerator.is_main_process:
        tokenizer = trainer.pipe.tokenizer
        long = truncated(tokenizer, [caption for image in images for caption in image.captions])
        if long:
            limit = tokenizer.model_max_length
            print(
                f"warning: {len(long)} captions are longer than {limit} tokens; the rest is not read: {long[0][:60]}…"
            )
        flips = [False, True] if trainer.settings.flip else [False]
        trainer.latents.fill(of_split(images, "holdout"), [False], trainer.stop.check)
        trainer.latents.fill(trainer.train_images + trainer.class_images, flips, trainer.stop.check)
    trainer.accelerator.wait_for_everyone()


def publish(trainer: Trainer, inputs: RunInputs, folder: Path) -> None:
    """Write everything the stage promises into `folder`."""
    settings, state = trainer.settings, trainer.state
    epoch, reason = choose(state.epochs)
    last = state.epochs[-1].epoch
    name = f"{inputs.concept.trigger}_{inputs.concept.class_name}.safetensors"

    def metadata(number: int) -> dict[str, str]:
        facts = training_facts(trainer, inputs, number)
        return file_metadata(facts, inputs.lineage(), strip_file(trainer.folder, number))

    def write(number: int, target: Path) -> ExportedFiles:
        adapter = load_file(adapter_file(trainer.folder, number))
        return export(trainer.pipe, adapter, settings, target, name, metadata(number))

    files = write(epoch, folder)
    last_error = _write_optional("the last epoch", folder / "last", lambda: write(last, folder / "last"))
    for result in state.epochs:
        link_or_copy(strip_file(trainer.folder, result.epoch), strip_file(folder, result.epoch))
        if settings.keep_epochs and result.epoch:
            target = folder / "epochs" / f"epoch-{result.epoch:02d}.safetensors"
            adapter = load_file(adapter_file(trainer.folder, result.epoch))
            kohya_file = partial(write_kohya, target, adapter, settings, metadata(result.epoch))
            _write_optional(f"epoch {result.epoch}", target, kohya_file)
    record.write_curves(folder, state)
    result_record = TrainingRecord(
        inputs,
        epoch,
        reason,
        last_epoch=last,
        last_error=last_error,
        steps=state.step,
        stopped_early=state.stopped_early,
        epochs=state.epochs,
        scores=scores(state.epochs),
        skipped=state.skipped,
        adapters={"diffusers": files.diffusers, "kohya": files.kohya},
    )
    record.write_record(folder, result_record)
    record.write_card(folder, result_record, strip_file(Path(), epoch).as_posix())
    print(f"published epoch {epoch}: {reason}", flush=True)


def training_facts(trainer: Trainer, inputs: RunInputs, epoch: int) -> TrainingFacts:
    """What the file of `epoch` says of the run."""
    return TrainingFacts(
        settings=inputs.settings,
        concept=inputs.concept,
        base=inputs.base,
        captions=[caption for image in trainer.train_images for caption in image.captions],
        prior_images=len(trainer.class_images),
        epoch=epoch,
        steps=next(result.step for result in trainer.state.epochs if result.epoch == epoch),
        total_steps=trainer.total_steps,
        prediction_type=trainer.batches.prediction_type,
        stable_diffusion_2=trainer.pipe.unet.config.cross_attention_dim == 1024,
    )


def _write_optional(what: str, target: Path, write: Callable[[], object]) -> str | None:
    """Write an epoch beside the published one to `target`, or say why it cannot be and leave it out."""
    try:
        write()
    except AdapterError as error:
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        print(f"warning: {what} is left out: {error}", flush=True)
        return str(error)
    return None


def _clear(folder: Path) -> None:
    """Delete a work folder that is done with; cut short, it leaves nothing that looks like work to go on with."""
    done = folder.with_name(f"{DONE}{folder.name}")
    folder.rename(done)
    shutil.rmtree(done)


def _clear_finished(folder: Path) -> None:
    """Delete what `_clear` left, and say when unfinished work of other settings lies beside a new work folder."""
    for done in folder.parent.glob(f"{DONE}*"):
        shutil.rmtree(done)
    others = sorted(other.name for other in folder.parent.glob("*") if other.name != folder.name)
    if others and not folder.exists():
        print(
            f"params, data or base differ from the unfinished run in {folder.parent / others[0]}: starting anew "
            "(delete that folder if it is not wanted any more)",
            flush=True,
        )

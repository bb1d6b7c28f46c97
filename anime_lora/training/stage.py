"""The train stage: dataset and base in; adapter in two formats, record, curves and sample strips out."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from anime_lora import __version__
from anime_lora.config import paths
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.config.train import Train
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.base_model import configs_hash, locate, weights_hash
from anime_lora.errors import AdapterError
from anime_lora.files import check_no_foreign_files, fresh_folder, link_or_copy
from anime_lora.lora.export import ExportedFiles, export, write_kohya
from anime_lora.lora.metadata import Lineage, TrainingFacts, current_commit, file_metadata, model_name
from anime_lora.training import measure, prior_preservation, processes, record, sanity_checks
from anime_lora.training.checkpoint import room_on_disk
from anime_lora.training.images import TrainingImage, dataset_hash, of_split, read_images
from anime_lora.training.loop import train_epochs
from anime_lora.training.resume import restore
from anime_lora.training.selection import choose
from anime_lora.training.state import State
from anime_lora.training.stop import Stop, listening
from anime_lora.training.text_embeddings import truncated
from anime_lora.training.trainer import Run, fingerprint, open_run, work_folder
from anime_lora.training.validation import adapter_file, strip_file

NO_EFFECT = {"checkpoint_every", "keep_checkpoints", "keep_epochs", "max_bad_steps"}
"""Settings that do not change the adapter: a run goes on when they change."""
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
    sanity_checks.refuse(settings, concept, images)
    base_path = locate(base)
    if compute.processes > 1 and not machine.is_launched():
        processes.relaunch(compute.processes, device)
        return
    facts, mark = identity(settings, concept, base, base_path, images)
    with machine.deterministic(device), processes.reporting(), listening() as stop:
        run = _prepared(settings, base, base_path, device, (cache, mark))
        run.name = f"{concept.trigger}_{concept.class_name}"
        if run.accelerator.is_main_process:
            for doubt in sanity_checks.doubts(settings, concept, images):
                print(f"warning: {doubt}", flush=True)
        with room_on_disk("the work in progress", cache):
            _cache_latents(run, images, prior_preservation.folder(cache, facts["base"]), stop)
            state = restore(run)
            with measure.fitting(run):
                train_epochs(run, state, stop)
        if run.accelerator.is_main_process:
            with room_on_disk("the adapter", out), fresh_folder(out, paths.WRITES[paths.TRAIN]) as folder:
                publish(run, state, folder, facts, (concept, base))
            _clear(run.folder)
        run.accelerator.wait_for_everyone()


def identity(
    settings: Train, concept: Concept, base: Base, path: Path, images: list[TrainingImage]
) -> tuple[dict[str, Any], str]:
    """What a run's result follows from, for its record, and the fingerprint of it that names its work folder."""
    counts = {split: len(of_split(images, split)) for split in ("train", "holdout")}
    known: dict[str, Any] = {
        "params": settings.model_dump(exclude=NO_EFFECT),
        "concept": concept.model_dump(),
        "base": {
            "model": model_name(base),
            "resolution": base.resolution,
            "weights_sha256": weights_hash(path),
            "configs_sha256": configs_hash(path),
        },
        "dataset": {"sha256": dataset_hash(images), **counts},
    }
    made_by = current_commit()
    code = {"version": __version__, "commit": made_by.sha if made_by else None}
    return {**code, **known, "params_sha256": fingerprint(params=known["params"])}, fingerprint(**known)


def _prepared(settings: Train, base: Base, path: Path, device: str, work: tuple[Path, str]) -> Run:
    """The run on its loaded base; says when unfinished work of other settings lies about."""
    cache, mark = work
    accelerator = machine.new_accelerator(settings, device)
    folder = work_folder(cache, mark)
    if accelerator.is_main_process:
        for done in folder.parent.glob(f"{DONE}*"):
            shutil.rmtree(done)
    others = sorted(other.name for other in folder.parent.glob("*") if other.name != folder.name)
    if others and not folder.exists() and accelerator.is_main_process:
        print(
            f"params, data or base differ from the unfinished run in {folder.parent / others[0]}: starting anew "
            "(delete that folder if it is not wanted any more)",
            flush=True,
        )
    return open_run(settings, base, path, accelerator, work)


def _clear(folder: Path) -> None:
    """Delete a work folder that is done with; cut short, it leaves nothing that looks like work to go on with."""
    done = folder.with_name(f"{DONE}{folder.name}")
    folder.rename(done)
    shutil.rmtree(done)


def _cache_latents(run: Run, images: list[TrainingImage], folder: Path, stop: Stop) -> None:
    """Fill the latent cache (first process only) and give the run its images; `folder` keeps class images."""
    run.images = sorted(images, key=lambda image: image.id)
    if run.accelerator.is_main_process:
        long = truncated(run.pipe.tokenizer, [image.text for image in images])
        if long:
            limit = run.pipe.tokenizer.model_max_length
            print(
                f"warning: {len(long)} captions are longer than {limit} tokens; the rest is not read: {long[0][:60]}…"
            )
    run.images += prior_preservation.class_images(run, folder, stop)
    if run.accelerator.is_main_process:
        trained = [image for image in run.images if image.split != "holdout"]
        run.batches.latents.fill(of_split(images, "holdout"), [False], stop.check)
        run.batches.latents.fill(trained, [False, True] if run.settings.flip else [False], stop.check)
    run.accelerator.wait_for_everyone()


def publish(run: Run, state: State, folder: Path, facts: dict[str, Any], names: tuple[Concept, Base]) -> None:
    """Write everything the stage promises into `folder`."""
    epoch, reason = choose(state.epochs)
    last = state.epochs[-1]["epoch"]
    name = f"{run.name}.safetensors"

    def metadata(number: int) -> dict[str, str]:
        return file_metadata(training_facts(run, state, number, names), lineage(facts), strip_file(run.folder, number))

    def written(number: int, target: Path, file: str) -> ExportedFiles:
        adapter = load_file(adapter_file(run.folder, number))
        return export(run.pipe, adapter, run.settings, target, file, metadata(number))

    files = written(epoch, folder, name)
    last_fault = _fault("the last epoch", folder / "last", lambda: written(last, folder / "last", name))
    for row in state.epochs:
        link_or_copy(strip_file(run.folder, row["epoch"]), strip_file(folder, row["epoch"]))
    if run.settings.keep_epochs:
        for row in state.epochs[1:]:
            target = folder / "epochs" / f"epoch-{row['epoch']:02d}.safetensors"
            adapter, about = load_file(adapter_file(run.folder, row["epoch"])), metadata(row["epoch"])
            _fault(f"epoch {row['epoch']}", target, partial(write_kohya, target, adapter, run.settings, about))
    record.write_curves(folder, state)
    found = {
        **facts,
        "epoch": epoch,
        "reason": reason,
        "last_epoch": last,
        "last_fault": last_fault,
        "epochs": record.scored(state),
        "bad_steps": state.bad,
    }
    found |= {"steps": state.step, "stopped_early": state.stopped_early}
    made = record.write_record(folder, found, {"diffusers": files.diffusers, "kohya": files.kohya})
    record.write_card(folder, made, strip_file(Path(), epoch).as_posix())
    print(f"published epoch {epoch}: {reason}", flush=True)


def training_facts(run: Run, state: State, epoch: int, names: tuple[Concept, Base]) -> TrainingFacts:
    """What the file of `epoch` says of the run."""
    return TrainingFacts(
        settings=run.settings,
        concept=names[0],
        base=names[1],
        captions=[image.text for image in of_split(run.images, "train")],
        prior_images=len(of_split(run.images, "prior")),
        epoch=epoch,
        steps=next(row["step"] for row in state.epochs if row["epoch"] == epoch),
        total_steps=run.total_steps,
        prediction_type=run.batches.prediction,
        stable_diffusion_2=run.pipe.unet.config.cross_attention_dim == 1024,
    )


def lineage(facts: dict[str, Any]) -> Lineage:
    """What the adapter was made from; `facts` as in the run's record."""
    return Lineage(
        version=facts["version"],
        commit=facts["commit"],
        dataset_sha256=facts["dataset"]["sha256"],
        params_sha256=facts["params_sha256"],
        base_sha256=facts["base"]["weights_sha256"],
    )


def _fault(what: str, target: Path, write: Callable[[], object]) -> str | None:
    """Write an epoch beside the published one to `target`, or say why it cannot be and leave it out."""
    try:
        write()
    except AdapterError as error:
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        print(f"warning: {what} is left out: {error}", flush=True)
        return str(error)
    return None

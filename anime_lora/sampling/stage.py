"""validate-sample: generate the suite with and without the LoRA, and lay the galleries out."""

from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import SamplingError
from anime_lora.files import check_no_foreign_files, fresh_folder, link_or_copy, sha256_file
from anime_lora.progress import Progress
from anime_lora.sampling.adapter_checks import check_arithmetic
from anime_lora.sampling.galleries import epochs, sheets
from anime_lora.sampling.generate import generate
from anime_lora.sampling.grids import compose, save
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.results import (
    GeneratedImage,
    GeneratedSuite,
    write_adapter_checks,
    write_generated,
    write_suite,
)
from anime_lora.sampling.sources import SourceImage, check_sources, place_sources
from anime_lora.sampling.suite import Shot, compose_prompt, shots, suite_id

STAGE = "validate-sample"
ADAPTER = "pytorch_lora_weights.safetensors"
WIDTH = 2400
"""Widest contact sheet, in pixels, about."""


def validate_sample(
    section: ValidateSample,
    concept: Concept,
    base: Base,
    compute: Compute,
    *,
    train: Path = paths.TRAIN,
    out: Path = paths.VALIDATE_SAMPLE,
    memo: Path = paths.CACHE / "samples",
) -> None:
    """Generate every image of the suite and lay out contact sheets.

    Writes images/, sources/, counterparts/, grids/, images.jsonl, sources.jsonl, checks.json and suite.json to `out`.

    Raises:
        AnimeLoraError: base, LoRA or a source is missing or damaged.
    """
    check_no_foreign_files(out, paths.WRITES[paths.VALIDATE_SAMPLE])
    suite = shots(section, concept)
    if section.counterparts and not Path(section.counterparts).is_dir():
        raise SamplingError(
            f"validate_sample.counterparts = {section.counterparts}: no such folder; name one, or data/none"
        )
    check_sources(section.sources, section.counterparts)
    pipelines = Pipelines(base, compute, section.controlnet)
    probes = [compose_prompt(concept, text) for text in section.prompts[: section.sweep_prompts]]
    second = Path(section.second_adapter) if section.second_adapter else None
    label = f"{concept.trigger}_{concept.class_name}"
    checks = check_arithmetic(pipelines, train / ADAPTER, probes, second, label)
    sources = Path(section.sources) if section.sources else None
    with Progress(STAGE, "generate", len(suite), unit="image") as progress:
        files = generate(
            suite, pipelines, memo, sources=sources, batch_size=section.batch_size, on_progress=progress.update
        )
    with fresh_folder(out, paths.WRITES[paths.VALIDATE_SAMPLE]) as folder:
        placed = {shot: folder / "images" / f"{shot.name}.png" for shot in suite}
        for shot, file in placed.items():
            link_or_copy(files[shot], file)
        write_generated(folder, [_generated_image(shot, file, pipelines.sampler) for shot, file in placed.items()])
        source_images = place_sources(folder, section.sources, section.counterparts, base.resolution)
        _write_grids(folder, placed, source_images, train / "samples", base.resolution)
        write_adapter_checks(folder, checks)
        generated = GeneratedSuite(
            suite_id=suite_id(suite, section.sources, pipelines.identity, pipelines.controlnet_identity),
            image_count=len(suite),
            identity=pipelines.identity,
            adapters={name: lora.sha256 for name, lora in pipelines.loras.items()},
            concept=concept,
            params=section,
        )
        write_suite(folder, generated)


def _generated_image(shot: Shot, file: Path, sampler: str) -> GeneratedImage:
    return GeneratedImage(**vars(shot), file=f"images/{file.name}", sampler=sampler, sha256=sha256_file(file))


def _write_grids(
    folder: Path, images: dict[Shot, Path], sources: list[SourceImage], strips: Path, resolution: int
) -> None:
    """Write grids/<gallery>.png and .webp; `strips` holds what training generated after each epoch."""
    (folder / "grids").mkdir()
    source_files = {image.source: folder / image.file for image in sources}
    counterparts = {image.source: folder / image.counterpart for image in sources}
    known = {name: file for name, file in counterparts.items() if file.is_file()}
    trained = epochs(strips)
    for sheet in [*sheets(images, source_files, known), *([trained] if trained else [])]:
        tile = max(96, min(resolution, int(WIDTH / (len(sheet.columns) * sheet.aspect + 0.7))))
        save(compose(sheet, tile), folder / "grids" / sheet.name)

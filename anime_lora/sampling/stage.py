"""validate-sample: generate the suite with and without the LoRA, and lay the galleries out."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import SamplingError
from anime_lora.files import (
    fresh_folder,
    link_or_copy,
    read_jsonl,
    refuse_foreign,
    sha256_file,
    write_json,
    write_jsonl,
)
from anime_lora.progress import Progress
from anime_lora.sampling.adapter_checks import check_adapter
from anime_lora.sampling.controlnet import add_controlnet
from anime_lora.sampling.galleries import Files, epochs, sheets
from anime_lora.sampling.generate import generate, read_source
from anime_lora.sampling.grids import compose, save
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.suite import (
    Shot,
    Wording,
    counterpart_of,
    file_stem,
    images_in,
    shots,
    source_files,
    suite_id,
)

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
    """Generate every image of the suite and write `out`: images/, images.jsonl, grids/, suite.json, checks.json.

    Raises:
        AnimeLoraError: base, LoRA or a source is missing or damaged.
    """
    refuse_foreign(out, paths.WRITES[paths.VALIDATE_SAMPLE])
    listed = shots(section, concept)
    if section.counterparts and not Path(section.counterparts).is_dir():
        raise SamplingError(f"validate_sample.counterparts = {section.counterparts}: no such folder; name one, or null")
    pipelines = Pipelines(base, compute)
    words = Wording(concept.trigger, concept.class_name)
    probes = [words.prompt(text) for text in section.prompts[: section.sweep_prompts]]
    second = Path(section.second_adapter) if section.second_adapter else None
    label = f"{concept.trigger}_{concept.class_name}"
    checks = check_adapter(pipelines, train / ADAPTER, probes, second, label)
    if section.controlnet:
        add_controlnet(pipelines, section.controlnet)
    sources = Path(section.sources) if section.sources else None
    with Progress(STAGE, "generate", len(listed), unit="image") as progress:
        files = generate(
            listed, pipelines, memo, sources=sources, batch_size=section.batch_size, on_progress=progress.update
        )
    with fresh_folder(out, paths.WRITES[paths.VALIDATE_SAMPLE]) as folder:
        placed = {shot: folder / "images" / f"{shot.name}.png" for shot in listed}
        for shot, file in placed.items():
            link_or_copy(files[shot], file)
        write_jsonl(folder / "images.jsonl", (_row(shot, file, pipelines.sampler) for shot, file in placed.items()))
        _place_sources(section, folder, base.resolution)
        _lay_out(placed, folder, train / "samples", base.resolution)
        write_json(folder / "checks.json", checks)
        write_json(folder / "suite.json", _suite(section, concept, listed, pipelines))


def _row(shot: Shot, file: Path, sampler: str) -> dict[str, Any]:
    return {**asdict(shot), "file": f"images/{file.name}", "sampler": sampler, "sha256": sha256_file(file)}


def _suite(section: ValidateSample, concept: Concept, listed: list[Shot], pipelines: Pipelines) -> dict[str, Any]:
    control = {"controlnet": pipelines.control_mark} if pipelines.control_mark else {}
    return {
        "suite_id": suite_id(listed, section.sources, {**pipelines.identity, **control}),
        "pictures": len(listed),
        "identity": pipelines.identity,
        "adapters": pipelines.adapters,
        "concept": concept.model_dump(),
        "params": section.model_dump(mode="json"),
    }


def _place_sources(section: ValidateSample, folder: Path, size: int) -> None:
    """Sources and counterparts as the pipeline saw them, with what is known of them, for evaluation and report."""
    known = Path(section.sources or ".") / "metadata.jsonl"
    labels = {row["file_name"]: row for row in read_jsonl(known)} if section.sources and known.is_file() else {}
    rows = []
    for name, kind, file in _source_images(section):
        target = folder / kind / f"{file_stem(name)}.png"
        target.parent.mkdir(exist_ok=True)
        read_source(file, size).save(target)
        if kind == "sources":
            rows.append({"source": name, "file": f"{kind}/{target.name}", "labels": labels.get(name, {})})
    write_jsonl(folder / "sources.jsonl", rows)


def _source_images(section: ValidateSample) -> Iterator[tuple[str, str, Path]]:
    sources = source_files(section.sources)
    counterparts = images_in(Path(section.counterparts)) if section.counterparts else []
    for file in sources:
        yield file.name, "sources", file
        if counterpart := counterpart_of(file.name, sources, counterparts):
            yield file.name, "counterparts", counterpart


def _lay_out(placed: Files, folder: Path, strips: Path, size: int) -> None:
    """Write grids/<gallery>.png and .webp."""
    (folder / "grids").mkdir()
    shown = list(sheets(placed, folder / "sources", folder / "counterparts"))
    trained = epochs(strips)
    for sheet in [*shown, *([trained] if trained else [])]:
        tile = max(96, min(size, int(WIDTH / (len(sheet.columns) * sheet.aspect + 0.7))))
        save(compose(sheet, tile), folder / "grids" / sheet.name)

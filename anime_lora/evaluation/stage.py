"""evaluate: images become numbers, numbers become verdicts, and both become one page."""

from dataclasses import asdict
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.evaluate import Evaluate
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.data.dataset_diff import read_version
from anime_lora.diffusion.device import pick_device
from anime_lora.evaluation.claims import decide_claims
from anime_lora.evaluation.encoders import Encoder, load_encoders
from anime_lora.evaluation.image_sets import ImageSets, encode, load_image_sets
from anime_lora.evaluation.metrics.quality import lay_out_nearest
from anime_lora.evaluation.metrics.results import claims_encoder, estimates, measure
from anime_lora.evaluation.promotion import decide, read_champion, score
from anime_lora.evaluation.report import contents, data_quality, figures
from anime_lora.evaluation.report.model import Report
from anime_lora.evaluation.report.page import write_page
from anime_lora.evaluation.report.plots import write_plots
from anime_lora.evaluation.report.training import read_epochs, read_record
from anime_lora.evaluation.summary import summary
from anime_lora.files import check_no_foreign_files, fresh_folder, write_json
from anime_lora.progress import Progress
from anime_lora.sampling.results import read_adapter_checks, read_suite

STAGE = "evaluate"


def evaluate(
    section: Evaluate,
    concept: Concept,
    base: Base,
    compute: Compute,
    *,
    samples: Path = paths.VALIDATE_SAMPLE,
    ingest: Path = paths.INGEST,
    validate: Path = paths.VALIDATE,
    dataset: Path = paths.ORGANIZE,
    train: Path = paths.TRAIN,
    out: Path = paths.EVALUATE,
) -> None:
    """Measure the generated images; write metrics, claims, scores and decision (.json), plots/, grids/ and the report.

    Raises:
        AnimeLoraError: images or dataset are missing or damaged. A missing encoder is no error: it is reported.
    """
    check_no_foreign_files(out, paths.WRITES[paths.EVALUATE])
    champion = read_champion(section.champion)
    suite, checks, version = read_suite(samples), read_adapter_checks(samples), read_version(validate)
    record, epochs = read_record(train), read_epochs(train)
    encoders, not_loaded = load_encoders(section.encoders, pick_device(compute.device))
    images = load_image_sets(samples, ingest, dataset, base.resolution, section)
    _encode(images, encoders)
    measured = measure(images, encoders, checks, suite, section)
    claims = decide_claims(measured, checks, section)
    scores = score(measured, suite, encoders, checks, version)
    decision = decide(scores, champion, section)
    with fresh_folder(out, paths.WRITES[paths.EVALUATE]) as folder:
        write_json(folder / "metrics.json", summary(measured, claims, epochs))
        write_json(folder / "claims.json", [asdict(claim) for claim in claims])
        scores.write(folder / "scores.json", estimates(measured))
        write_json(folder / "decision.json", asdict(decision))
        write_plots(folder / "plots", measured, epochs)
        lay_out_nearest(images, claims_encoder(encoders), folder / "grids")
        galleries = figures.galleries(samples / "grids", folder / "grids", out)
        report = Report(
            title=contents.title(concept),
            subtitle=contents.subtitle(record),
            verdict=contents.headline(claims),
            hero=galleries[0].images[0] if galleries else None,
            key_numbers=contents.cards(measured),
            claims=claims,
            galleries=galleries,
            curves=figures.charts(measured, epochs, record.epoch),
            confusions=figures.matrices(measured),
            tables=figures.tables(measured),
            dataset=contents.dataset_section(version, None if champion is None else champion.dataset),
            set_aside=data_quality.set_aside(validate, out),
            clusters=data_quality.clusters(validate),
            skipped=[*measured.missing(), *not_loaded],
            notes=contents.NOTES,
            lineage=contents.lineage(suite, encoders, record, decision),
        )
        report.write(folder / "report.json")
        write_page(folder / "report.html", report)


def _encode(images: ImageSets, encoders: list[Encoder]) -> None:
    """Add every encoder's vectors to every set that encoders see."""
    with Progress(STAGE, "encoding", len(encoders) * len(images.encoded()), unit="set") as progress:
        for encoder in encoders:
            for part in images.encoded():
                encode(part, encoder, images.size)
                progress.update()

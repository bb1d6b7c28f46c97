"""Rematch: an earlier LoRA measured on the present suite and held-out images, so that two LoRAs compare fairly."""

from pathlib import Path

from anime_lora.config.evaluate import Evaluate
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.evaluation.stage import evaluate
from anime_lora.sampling.stage import validate_sample


def rematch(  # noqa: PLR0917  the stage door's four sections, two folders
    folder: Path,
    out: Path,
    sampling: ValidateSample,
    measuring: Evaluate,
    concept: Concept,
    base: Base,
    compute: Compute,
) -> None:
    """Generate with the LoRA in `folder` and measure it, as validate-sample and evaluate do; known images are reused.

    Args:
        folder: a LoRA with its record, as training published it.
        out: gets samples/ and evaluate/, whose scores.json compares with the last evaluation's.
        sampling, measuring, concept, base, compute: sections of the params.

    Raises:
        AnimeLoraError: base, LoRA, dataset or a source is missing or damaged.
    """
    validate_sample(sampling, concept, base, compute, train=folder, out=out / "samples")
    evaluate(measuring, concept, base, compute, samples=out / "samples", train=folder, out=out / "evaluate")

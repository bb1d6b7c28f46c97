"""Commands about LoRA files and dataset versions."""

from pathlib import Path
from typing import Annotated

import typer

from anime_lora.cli.page import FILES_PANEL, examples, print_table, read_params
from anime_lora.config import paths

app = typer.Typer()


@app.command(
    rich_help_panel=FILES_PANEL,
    epilog=examples(
        ("anime-lora inspect data/train/pytorch_lora_weights.safetensors", "the LoRA of the last run"),
        ("anime-lora inspect ~/webui/models/Lora/some-style.safetensors", "anyone's"),
    ),
)
def inspect(file: Annotated[Path, typer.Argument(help="A .safetensors file: kohya, diffusers or LyCORIS.")]) -> None:
    """Print what a LoRA file holds: format, adapted modules, ranks, norms and the training metadata.

    Reads the file only: no base model, no GPU.
    """
    from anime_lora.lora.inspect import describe
    from anime_lora.lora.inspect import inspect as run

    print_table(describe(run(file)))


@app.command(
    "check-adapter",
    rich_help_panel=FILES_PANEL,
    epilog=examples(
        ("anime-lora check-adapter models/champion/pytorch_lora_weights.safetensors", "the published LoRA on this base")
    ),
)
def check_adapter(file: Annotated[Path, typer.Argument(help="A LoRA file for the base in params.yaml.")]) -> None:
    """Load a LoRA file onto the base and generate one image; fails where that image is flat or not finite.

    The nightly run does this before it publishes a LoRA.
    """
    from anime_lora.sampling.adapter_checks import check_adapter as run

    params = read_params()
    print(run(file, params.validate_sample, params.concept, params.base, params.compute))


@app.command(
    "dataset-diff",
    rich_help_panel=FILES_PANEL,
    epilog=examples(
        ("dvc get . data/validate/manifest.jsonl --rev HEAD~1 -o old.jsonl", "fetches an earlier version"),
        ("anime-lora dataset-diff old.jsonl", "compares it with the one in data/validate/"),
        ("anime-lora dataset-diff old.jsonl new.jsonl", "compares any two"),
    ),
)
def dataset_diff(
    old: Annotated[Path, typer.Argument(help="Validate's manifest.jsonl of an earlier version, or its folder.")],
    new: Annotated[Path, typer.Argument(help="The same of a later one.")] = paths.VALIDATE,
) -> None:
    """Print which images were added, removed or captioned anew between two dataset versions, and the dataset drift.

    Drift is the population stability index of contrast, sharpness and shorter side: below 0.1 stable, above 0.25 large.
    """
    from anime_lora.data.dataset_diff import compare, read_version

    changes = compare(read_version(old), read_version(new))
    print(f"{changes.before} images -> {changes.now}: {changes.summary()}")
    for change in (*changes.images(), *changes.measures()):
        captions = " -> ".join(text.replace("\n", " / ") for text in (change.before, change.now) if text)
        print("  ".join(part for part in (f"{change.change:<20}", change.path, captions) if part))

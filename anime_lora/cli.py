"""The door: `python -m anime_lora STAGE` runs one stage on `params.yaml`; DVC calls nothing else.

Beside the stages: `check`, which DVC runs first; `preset`, `plan`, `inspect`, `check-adapter` and `dataset-diff`, for
people; `rematch`, for the nightly run.

Each command imports its room only when called, so that a data stage never loads torch.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from anime_lora.config import paths
from anime_lora.config.load import Params, load_params
from anime_lora.config.places import SETTINGS
from anime_lora.errors import EXIT_CODE, AnimeLoraError
from anime_lora.files import refuse_foreign, write_json

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def _params() -> Params:
    return load_params(paths.PARAMS)


@app.command()
def check() -> None:
    """Refuse settings that do not fit and folders that hold more than outputs; DVC runs it before all stages."""
    _params()
    for folder, writes in paths.WRITES.items():
        refuse_foreign(folder, writes)
    write_json(paths.CHECKED, list(SETTINGS))


@app.command()
def ingest() -> None:
    """Read every source into a content-addressed store and account for every file."""
    from anime_lora.data.ingest import ingest as run

    params = _params()
    run(params.ingest, params.compute)


@app.command()
def validate() -> None:
    """Check every image; set bad ones aside with the reason."""
    from anime_lora.data.validate import validate as run

    params = _params()
    run(params.validate_, params.compute)


@app.command()
def resize() -> None:
    """Make RGB squares of the validated images."""
    from anime_lora.data.resize import resize as run

    params = _params()
    run(params.resize, params.compute)


@app.command()
def organize() -> None:
    """Lay the dataset folder out, with captions and the holdout split."""
    from anime_lora.data.organize import organize as run

    params = _params()
    run(params.organize, params.concept)


@app.command()
def train() -> None:
    """Train the LoRA and save it in two formats."""
    from anime_lora.training.stage import train as run

    params = _params()
    run(params.train, params.concept, params.base, params.compute)


@app.command("validate-sample")
def validate_sample() -> None:
    """Generate the galleries, base beside LoRA."""
    from anime_lora.sampling.stage import validate_sample as run

    params = _params()
    run(params.validate_sample, params.concept, params.base, params.compute)


@app.command()
def evaluate() -> None:
    """Measure the galleries, decide the claims, write the report."""
    from anime_lora.evaluation.stage import evaluate as run

    params = _params()
    run(params.evaluate, params.concept, params.base, params.compute)


@app.command()
def plan() -> None:
    """Say what training will do and cost, from the settings and a few measured steps; refuse nonsense."""
    from anime_lora.training.estimate import plan as run

    params = _params()
    _table(run(params.train, params.concept, params.base, params.compute))


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="a LoRA file, ours or another's")]) -> None:
    """Show what a LoRA file holds and says about itself."""
    from anime_lora.lora.inspect import describe
    from anime_lora.lora.inspect import inspect as run

    _table(describe(run(file)))


@app.command("check-adapter")
def check_adapter(file: Annotated[Path, typer.Argument(help="a LoRA file for this base")]) -> None:
    """Load a LoRA file onto the base and generate one image; fails when it is not finite or flat."""
    from anime_lora.sampling.adapter_checks import check_adapter as run

    params = _params()
    print(run(file, params.validate_sample, params.concept, params.base, params.compute))


@app.command()
def rematch(
    folder: Annotated[Path, typer.Argument(help="folder of an earlier LoRA with its record.json")],
    out: Annotated[Path, typer.Argument(help="gets samples/ and evaluate/")],
) -> None:
    """Measure an earlier LoRA on the present suite and held-out images."""
    from anime_lora.evaluation.rematch import rematch as run

    params = _params()
    run(folder, out, params.validate_sample, params.evaluate, params.concept, params.base, params.compute)


@app.command("dataset-diff")
def dataset_diff(
    old: Annotated[Path, typer.Argument(help="validate's manifest.jsonl of an earlier version, or its folder")],
    new: Annotated[Path, typer.Argument(help="the same of a later one")] = paths.VALIDATE,
) -> None:
    """Say which images were added, removed or captioned anew between two dataset versions, and what drifted."""
    from anime_lora.data.dataset_diff import compare, read_version

    changes = compare(read_version(old), read_version(new))
    print(f"{changes.before} images -> {changes.now}: {changes.sentence()}")
    for row in changes.table():
        captions = " -> ".join(text for text in (row["before"], row["now"]) if text)
        print("  ".join(part for part in (f"{row['change']:<20}", row["picture"], captions) if part))


def _table(rows: list[tuple[str, str]]) -> None:
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        print(f"{what:<{width}}  {value}")


@app.command()
def preset(name: Annotated[str, typer.Argument(help="pocket, sd15 or another file of presets/.")]) -> None:
    """Write a preset's values into params.yaml; comments and every other line stay as they are."""
    from anime_lora.config.presets import apply

    changes = apply(name)
    for change in changes:
        print(f"{change.path}: {change.before} -> {change.after}")
    print(
        f"preset {name}: {len(changes)} values changed in {paths.PARAMS}" if changes else f"{paths.PARAMS} has them all"
    )


def guarded(command: Callable[[], object]) -> None:
    """Run `command`; an `AnimeLoraError` becomes one message on stderr and `EXIT_CODE`, without a traceback."""
    try:
        command()
    except AnimeLoraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)


def main() -> None:
    """The `anime-lora` command."""
    guarded(app)

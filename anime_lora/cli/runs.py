"""Commands that DVC and the nightly run call."""

from pathlib import Path
from typing import Annotated

import typer

from anime_lora.cli.page import RUNS_PANEL, examples, read_params
from anime_lora.config import paths
from anime_lora.config.local_models import local_models
from anime_lora.config.path_settings import SETTINGS
from anime_lora.errors import ParamsError
from anime_lora.files import check_no_foreign_files, write_json

app = typer.Typer()


@app.command(
    rich_help_panel=RUNS_PANEL,
    epilog=examples(("anime-lora rematch models/champion .cache/champion", "the champion against tonight's suite")),
)
def rematch(
    folder: Annotated[Path, typer.Argument(help="Folder of an earlier LoRA with its record.json.")],
    out: Annotated[Path, typer.Argument(help="Gets samples/ and evaluate/.")],
) -> None:
    """Measure an earlier LoRA on the present suite and held-out images, so that two LoRAs can be compared.

    Scores of another suite or another held-out set say nothing about this one.
    """
    from anime_lora.evaluation.stage import evaluate as measure
    from anime_lora.sampling.stage import validate_sample as generate

    params = read_params()
    sections = (params.concept, params.base, params.compute)
    generate(params.validate_sample, *sections, train=folder, out=out / "samples")
    measure(params.evaluate, *sections, samples=out / "samples", train=folder, out=out / "evaluate")


@app.command(rich_help_panel=RUNS_PANEL, epilog=examples(("anime-lora check", "before a long run of `dvc repro`")))
def check() -> None:
    """Check params.yaml, and that no stage's folder holds files that the stage did not write.

    DVC empties a stage's outputs before it starts the stage, so it runs this first, at every `dvc repro`: it also
    writes the hashes of local models, on which stages depend. Nothing is changed but data/checked.json and
    data/models.json.
    """
    from anime_lora.sampling.model_files import model_problems

    params = read_params()
    for folder, writes in paths.WRITES.items():
        check_no_foreign_files(folder, writes)
    if problems := model_problems(params):
        raise ParamsError("\n".join(problems))
    write_json(paths.CHECKED, list(SETTINGS))
    write_json(paths.MODELS, local_models(params))

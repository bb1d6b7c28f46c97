"""The `anime-lora` command: the seven stages, and what a person asks before and after them.

DVC calls the stages as `python -m anime_lora STAGE`. Each command imports its room only when it is called, so that a
data stage never loads torch; what a command finds out is a value, printed here.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from anime_lora.config import paths
from anime_lora.config.load import Params, load_params
from anime_lora.config.path_settings import SETTINGS
from anime_lora.errors import EXIT_CODE, AnimeLoraError
from anime_lora.files import check_no_foreign_files, write_json

SETTINGS_PANEL = "Settings"
STAGES_PANEL = "Stages, in their order (`dvc repro` runs those that are out of date)"
FILES_PANEL = "LoRA files and dataset versions"
RUNS_PANEL = "Called by DVC and by the nightly run"


def examples(*pairs: tuple[str, str]) -> str:
    """An epilog of commands, each with what it does."""
    return "\n".join(["**Examples**", "", *(f"- `{command}`: {meaning}" for command, meaning in pairs)])


app = typer.Typer(
    help="""Fine-tune Stable Diffusion 1.5 with LoRA on a folder of anime faces, and measure what it learned.

Every value stands in `params.yaml`; run the commands from the project's root. `dvc repro` runs the stages that are out
of date, `make run` does the same and shows it in Prefect, and a stage's own command runs that stage.""",
    epilog=examples(
        ("anime-lora preset sd15", "writes the values for Stable Diffusion 1.5 into params.yaml"),
        ("anime-lora plan", "prints steps, memory, time and disk before training starts"),
        ("anime-lora inspect faces.safetensors", "prints what a LoRA file holds"),
        ("anime-lora --install-completion", "lets the Tab key complete commands and options"),
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def stage_examples(stage: str, look: str, meaning: str) -> str:
    """The epilog of a stage: run it, let DVC decide, look at the result."""
    return examples(
        (f"anime-lora {stage}", "runs it now"),
        (f"dvc repro {stage}", "runs it, and what comes before, where something changed"),
        (look, meaning),
    )


def preset_names() -> list[str]:
    """What the shell completes after `anime-lora preset`."""
    return sorted(file.stem for file in Path("presets").glob("*.yaml"))


def _params() -> Params:
    return load_params(paths.PARAMS)


@app.command(
    rich_help_panel=SETTINGS_PANEL,
    epilog=examples(
        ("anime-lora preset sd15 && git diff params.yaml", "Stable Diffusion 1.5 on a GPU"),
        ("anime-lora preset pocket", "back to the built-in base"),
    ),
)
def preset(
    name: Annotated[str, typer.Argument(help="pocket, sd15 or another file of presets/.", autocompletion=preset_names)],
) -> None:
    """Write a preset's values into params.yaml; comments and every other line stay as they are.

    The head of each file in presets/ says what it costs and what to expect.
    """
    from anime_lora.config.presets import apply

    changes = apply(name)
    for change in changes:
        print(f"{change.path}: {change.before} -> {change.after}")
    print(
        f"preset {name}: {len(changes)} values changed in {paths.PARAMS}" if changes else f"{paths.PARAMS} has them all"
    )


@app.command(
    rich_help_panel=SETTINGS_PANEL,
    epilog=examples(
        ("anime-lora plan", "for the values in params.yaml"),
        ("anime-lora plan && dvc repro", "starts the run only if it can succeed"),
    ),
)
def plan() -> None:
    """Print what training will do and cost: steps, memory, time and disk, from the settings and a few measured steps.

    Needs the organized dataset. Settings that cannot work are refused with every reason; those that are seldom meant
    are named. The measured steps are thrown away.
    """
    from anime_lora.training.estimate import plan as run

    params = _params()
    _table(run(params.train, params.concept, params.base, params.compute).rows())


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("ingest", "wc -l data/ingest/manifest.jsonl", "how many files the sources hold"),
)
def ingest() -> None:
    """Read every source into a content-addressed store and account for every file.

    Reads `ingest.sources`: folders, archives or URLs, with captions beside the images or in tables. Writes
    data/ingest/, whose manifest.jsonl has one row for each file, taken or rejected with the reason.
    """
    from anime_lora.data.ingest import ingest as run

    params = _params()
    run(params.ingest, params.compute)


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("validate", "cat data/validate/quarantine.jsonl", "what was set aside, with the reasons"),
)
def validate() -> None:
    """Check every image; set bad ones aside with the reason.

    Size, aspect, contrast, sharpness, near-duplicates and captions, with the limits of `validate` in params.yaml.
    Writes data/validate/: manifest.jsonl, quarantine.jsonl with the reasons, summary.json.
    """
    from anime_lora.data.validate import validate as run

    params = _params()
    run(params.validate_, params.compute)


@app.command(rich_help_panel=STAGES_PANEL, epilog=stage_examples("resize", "ls data/resize/images", "the squares"))
def resize() -> None:
    """Make RGB squares of the validated images.

    `resize.size` pixels, cropped or padded. Writes data/resize/; an image that was resized before is taken from there.
    """
    from anime_lora.data.resize import resize as run

    params = _params()
    run(params.resize, params.compute)


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("organize", "head data/organize/metadata.jsonl", "captions, and which images are held out"),
)
def organize() -> None:
    """Lay the dataset folder out, with captions and the held-out split.

    For diffusers or kohya (`organize.layout`). Near-duplicates are never split between training and held-out images.
    Writes data/organize/.
    """
    from anime_lora.data.organize import organize as run

    params = _params()
    run(params.organize, params.concept)


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples(
        "train", "anime-lora inspect data/train/pytorch_lora_weights.safetensors", "what was trained"
    ),
)
def train() -> None:
    """Train the LoRA and save it for diffusers and for A1111, Forge and ComfyUI.

    Goes on at the last checkpoint after a kill. Writes data/train/: two adapter files, a model card, record.json,
    curves and samples of each epoch.
    """
    from anime_lora.training.stage import train as run

    params = _params()
    run(params.train, params.concept, params.base, params.compute)


@app.command(
    "validate-sample",
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("validate-sample", "ls data/validate-sample/grids", "the galleries"),
)
def validate_sample() -> None:
    """Generate the galleries: base and LoRA on the same seeds.

    Text to image, image to image, guidance, scale, styles, a second LoRA, ControlNet, as `validate_sample` says. Writes
    data/validate-sample/; an image that was generated before with the same settings is not generated again.
    """
    from anime_lora.sampling.stage import validate_sample as run

    params = _params()
    run(params.validate_sample, params.concept, params.base, params.compute)


@app.command(rich_help_panel=STAGES_PANEL, epilog=stage_examples("evaluate", "dvc metrics show", "the numbers"))
def evaluate() -> None:
    """Measure the galleries, decide the claims and write the report.

    Writes data/evaluate/: report.html, metrics.json with intervals, claims.json, decision.json. Nothing is generated.
    """
    from anime_lora.evaluation.stage import evaluate as run

    params = _params()
    run(params.evaluate, params.concept, params.base, params.compute)


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

    _table(describe(run(file)))


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

    params = _params()
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
        captions = " -> ".join(text for text in (change.before, change.now) if text)
        print("  ".join(part for part in (f"{change.change:<20}", change.path, captions) if part))


def _table(rows: list[tuple[str, str]]) -> None:
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        print(f"{what:<{width}}  {value}")


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

    params = _params()
    sections = (params.concept, params.base, params.compute)
    generate(params.validate_sample, *sections, train=folder, out=out / "samples")
    measure(params.evaluate, *sections, samples=out / "samples", train=folder, out=out / "evaluate")


@app.command(rich_help_panel=RUNS_PANEL, epilog=examples(("anime-lora check", "before a long run of `dvc repro`")))
def check() -> None:
    """Check params.yaml, and that no stage's folder holds files that the stage did not write.

    DVC empties a stage's outputs before it starts the stage, so it runs this first. Nothing is changed but
    data/checked.json.
    """
    _params()
    for folder, writes in paths.WRITES.items():
        check_no_foreign_files(folder, writes)
    write_json(paths.CHECKED, list(SETTINGS))


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

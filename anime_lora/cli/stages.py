"""The seven stages: each reads its sections of the settings and calls its room."""

import typer

from anime_lora.cli.page import STAGES_PANEL, examples, read_params
from anime_lora.errors import ParamsError

app = typer.Typer()


def stage_examples(stage: str, look: str, meaning: str) -> str:
    """The epilog of a stage: run it, let DVC decide, look at the result."""
    return examples(
        (f"anime-lora {stage}", "runs it now"),
        (f"dvc repro {stage}", "runs it, and what comes before, where something changed"),
        (look, meaning),
    )


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("ingest", "wc -l data/ingest/manifest.jsonl", "how many files the sources hold"),
)
def ingest() -> None:
    """Read every source into a content-addressed store and account for every file.

    Reads `ingest.sources`: folders, archives or URLs, with captions beside the images or in tables. Writes
    data/ingest/, whose manifest.jsonl has one row for each file that could be an image, taken or rejected with the
    reason, and whose sidecars.jsonl has one for each of the others; summary.json counts both.
    """
    from anime_lora.data.ingest import ingest as run

    params = read_params()
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

    params = read_params()
    run(params.validate_, params.compute)


@app.command(
    rich_help_panel=STAGES_PANEL,
    epilog=stage_examples("resize", "ls data/resize/images", "the squares"),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def resize(context: typer.Context) -> None:
    """Make RGB squares of the validated images.

    `resize.size` pixels, cropped or padded. Writes data/resize/; an image that was resized before is taken from there.
    """
    from anime_lora.data.resize import resize as run

    if context.args:
        raise ParamsError(
            f"resize makes squares of the images and takes no {context.args[0]}: a LoRA is made smaller by "
            "`anime-lora resize-adapter FILE --rank 8 -o OUT`"
        )
    params = read_params()
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

    params = read_params()
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

    params = read_params()
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

    params = read_params()
    run(params.validate_sample, params.concept, params.base, params.compute)


@app.command(rich_help_panel=STAGES_PANEL, epilog=stage_examples("evaluate", "dvc metrics show", "the numbers"))
def evaluate() -> None:
    """Measure the galleries, decide the claims and write the report.

    Writes data/evaluate/: report.html, metrics.json with intervals, claims.json, decision.json. Nothing is generated.
    """
    from anime_lora.evaluation.stage import evaluate as run

    params = read_params()
    run(params.evaluate, params.concept, params.base, params.compute)

"""The command for images of one's own."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from anime_lora.cli.page import SETTINGS_PANEL, examples, print_table
from anime_lora.cli.settings import preset_names
from anime_lora.config import paths
from anime_lora.config.load import Params

app = typer.Typer()


@app.command(
    rich_help_panel=SETTINGS_PANEL,
    epilog=examples(
        ("anime-lora new ~/faces --trigger zxyStyle", "on the base that params.yaml has"),
        ("anime-lora new faces.zip --trigger zxyStyle --preset sd15", "Stable Diffusion 1.5 on a GPU"),
        ("anime-lora new ~/faces --trigger zxyStyle && dvc repro", "and trains, if nothing stands against it"),
    ),
)
def new(
    folder: Annotated[str, typer.Argument(help="Your images: a folder, an archive or a URL of either.")],
    trigger: Annotated[str, typer.Option(help="A word of your own that calls the style, such as zxyStyle.")],
    preset: Annotated[
        str | None, typer.Option(help="pocket, sd15 or another preset to begin with.", autocompletion=preset_names)
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="What is shown; else what params.yaml has.")] = None,
    plan: Annotated[bool, typer.Option(help="Print what training will cost, by a few measured steps.")] = True,
) -> None:
    """Set the project to your own images: look at them, write params.yaml, print the plan.

    Says how many images are usable, their sizes and captions, and what will be set aside and why. Writes sources and
    trigger, nothing else; comments stay. Warns of a word that the text encoder knows already. What is computed of each
    image is kept, so `dvc repro` does not do it again. Where the images do not do, nothing is written.
    """
    from anime_lora.config.own_images import own_params, with_own_images
    from anime_lora.config.presets import read_text
    from anime_lora.data.survey import DataSections, survey
    from anime_lora.files import write_bytes

    before = read_text(paths.PARAMS)
    text, changes = with_own_images(before, folder, trigger, class_name, preset)
    params = own_params(text)
    paths.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new.", dir=paths.CACHE) as work:
        sections = DataSections(params.ingest, params.validate_, params.resize, params.organize)
        print_table(survey(sections, params.concept, params.compute, Path(work)).rows())
        if text != before:
            write_bytes(paths.PARAMS, text.encode())
        for change in changes:
            print(f"{change.path}: {change.before} -> {change.after}")
        print(f"{len(changes)} values changed in {paths.PARAMS}" if changes else f"{paths.PARAMS} has them all")
        if plan:
            _print_plan(params, Path(work) / "organize")
    print("next: `dvc repro`, or `make run` to watch it in Prefect")


def _print_plan(params: Params, organized: Path) -> None:
    """The plan of the training, and what stands against the trigger; a base that is not there is said, no error."""
    from anime_lora.diffusion.base_model import load_tokenizer, locate
    from anime_lora.errors import BaseModelError, DeviceError
    from anime_lora.training.batch import of_split, read_images
    from anime_lora.training.estimate import plan
    from anime_lora.training.sanity_checks import total_steps
    from anime_lora.training.text_embeddings import meaning

    try:
        warning = meaning(load_tokenizer(locate(params.base)), params.concept.trigger)
        if warning is not None:
            print(f"warning: {warning}; take a word that nobody uses")
        print_table(plan(params.train, params.concept, params.base, params.compute, organized).rows())
    except (BaseModelError, DeviceError) as error:
        images = read_images(organized)
        count, steps = len(of_split(images, "train")), total_steps(params.train, images)
        print(f"plan: {count} images to train on, {steps} optimizer steps; time and memory are not known: {error}")

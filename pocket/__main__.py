"""`python -m pocket`: train the pocket models again, measure them, render the sample images."""

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from anime_lora.config import paths
from pocket.faces.samples import render_samples

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
RECIPE = Path(__file__).with_name("recipe.yaml")
GPU_RECIPE = Path(__file__).with_name("gpu.yaml")
BASE = Path("data/base")
SCORES = paths.EVALUATE / "scores.json"


@app.command()
def train(  # noqa: PLR0917  options of a command
    model: Annotated[str, typer.Argument(help="autoencoder, base, decoder, scorer or all")] = "all",
    recipe: Path = RECIPE,
    work: Path = paths.CACHE / "pocket",
    out: Path = BASE,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    go_on: Annotated[bool, typer.Option(help="all but the scorer: from the published weights")] = False,
) -> None:
    """Train the pocket base and the scorer as the recipe says; a killed run goes on where it was."""
    from pocket.training.order import PocketTraining
    from pocket.training.recipe import read_recipe

    scheduler = out / "pocket/scheduler/scheduler_config.json"
    if go_on and model != "scorer" and scheduler.is_file() and "v_prediction" in scheduler.read_text(encoding="utf-8"):
        raise typer.BadParameter(
            f"{out / 'pocket'} is the second edition, which only `train-gpu` trains; name a first edition by --out",
            param_hint="--go-on",
        )
    training = PocketTraining(read_recipe(recipe), work, out, device, go_on=go_on)
    if model in {"scorer", "all"}:
        training.scorer()
    if model == "autoencoder":
        training.finish_autoencoder() if go_on else training.autoencoder()
    if model == "decoder":
        training.finish_decoder() if go_on else training.decoder()
    if model in {"base", "all"}:
        training.base()


@app.command()
def train_gpu(
    out: Annotated[Path, typer.Option(help="folder of the results; what is there already is kept")],
    minutes: Annotated[float, typer.Option(min=0.1, help="in all, saving included")] = 9.5,
    recipe: Path = GPU_RECIPE,
    base: Annotated[Path, typer.Option(help="whose tokenizer and text encoder are the start")] = BASE / "pocket",
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda",
) -> None:
    """Train the second edition of the base in a given time on one GPU; `publish` puts it in place."""
    from pocket.models.shapes import SECOND
    from pocket.training.gpu import GpuTraining
    from pocket.training.recipe import read_gpu_recipe

    out.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.FileHandler(out / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    GpuTraining(read_gpu_recipe(recipe), SECOND, base, out, device).run(minutes)


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="what `train-gpu` wrote")],
    out: Annotated[Path, typer.Option(help="gets `pocket` and `pocket-controlnet`")] = BASE,
) -> None:
    """Put what `train-gpu` trained into folders that diffusers loads, each model in one file."""
    from pocket.models.publish import publish_trained

    publish_trained(folder, out)


@app.command()
def measure(
    base: Annotated[Path, typer.Option(help="folder with `pocket` and `pocket-clip`")] = BASE,
    images: Annotated[int, typer.Option(min=8, help="images behind each figure")] = 96,
    scores: Annotated[Path, typer.Option(help="of the default run, for the last rows")] = SCORES,
) -> None:
    """Measure the published models on characters they have not seen; prints the table of docs/pocket-base.md."""
    from pocket.measure import measure as run

    table = sys.stdout
    print("| what | measured | bar | |\n|---|---|---|---|", flush=True)
    with redirect_stdout(sys.stderr):  # the lines of progress
        for row in run(base, images, scores):
            reached = "reached" if row.reached else "not reached"
            print(f"| {row.what} | {row.figure} | {row.bar} | {reached} |", file=table, flush=True)


@app.command()
def samples(out: Path = Path("data/samples")) -> None:
    """Render the sample images, byte for byte as they lie in the repository."""
    render_samples(out)


if __name__ == "__main__":
    app()

"""`python -m pocket`: train the pocket models again, measure them, render the sample images."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from anime_lora.config import paths
from pocket.faces.samples import render_samples

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
RECIPE = Path(__file__).with_name("recipe.yaml")
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

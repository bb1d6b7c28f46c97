"""The `anime-lora` command: the seven stages, and what a person asks before and after them.

DVC calls the stages as `python -m anime_lora STAGE`. A module holds the commands of one group. Each command imports its
room only when it is called, so that a data stage never loads torch; what a command finds out is a value, printed here.
The room may import every other one.
"""

import sys
from collections.abc import Callable

import typer

from anime_lora.cli import adapters, files, generate, new, runs, settings, stages
from anime_lora.cli.page import examples
from anime_lora.errors import EXIT_CODE, AnimeLoraError

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
for group in (new, settings, stages, generate, adapters, files, runs):  # in the order of the help page
    app.add_typer(group.app)


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

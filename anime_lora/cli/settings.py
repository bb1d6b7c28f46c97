"""Commands about the settings: presets, and what they will cost."""

from pathlib import Path
from typing import Annotated

import typer

from anime_lora.cli.page import SETTINGS_PANEL, examples, print_table, read_params
from anime_lora.config import paths

app = typer.Typer()


def preset_names() -> list[str]:
    """What the shell completes after `anime-lora preset`."""
    return sorted(file.stem for file in Path("presets").glob("*.yaml"))


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

    params = read_params()
    print_table(run(params.train, params.concept, params.base, params.compute).rows())

"""What the commands of every group share: the headings of the help page, examples, settings, tables."""

from anime_lora.config import paths
from anime_lora.config.load import Params, load_params

SETTINGS_PANEL = "Settings"
STAGES_PANEL = "Stages, in their order (`dvc repro` runs those that are out of date)"
USE_PANEL = "Using a LoRA"
ADAPTERS_PANEL = "Combine, convert and check LoRA files"
FILES_PANEL = "LoRA files and dataset versions"
RUNS_PANEL = "Called by DVC and by the nightly run"


def examples(*pairs: tuple[str, str]) -> str:
    """An epilog of commands, each with what it does."""
    return "\n".join(["**Examples**", "", *(f"- `{command}`: {meaning}" for command, meaning in pairs)])


def read_params() -> Params:
    """The settings in params.yaml of the working directory.

    Raises:
        ParamsError: as `load_params`.
    """
    return load_params(paths.PARAMS)


def print_table(rows: list[tuple[str, str]]) -> None:
    """Print rows of (what, value) in two columns."""
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        print(f"{what:<{width}}  {value}")

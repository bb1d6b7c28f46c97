"""What ends a run with one message, as one tree; the library's own tree has its root in `anime_lora.errors`.

RunError                    tasks.errors: root of the orchestration's errors
├── StageFailedError        tasks.errors: a stage or another command of a run failed
├── RunCancelledError       tasks.errors: somebody cancelled the run
├── PreflightError          the run cannot start here: folder, Git, DVC, server, disk
├── RunLockedError          another run works in the folder
├── CommandFailedError      Git or DVC did not do what a run needs
└── ChampionError           the champion is not there, or is not what its record says
    └── SmokeTestError      the file that was just published does not load, or generates nothing

The commands catch the two roots, print the message without a traceback and exit with code 1.
"""

from anime_lora.errors import AnimeLoraError
from tasks.errors import RunCancelledError, RunError, StageFailedError

__all__ = [
    "ROOTS", "ChampionError", "CommandFailedError", "PreflightError", "RunCancelledError", "RunError",
    "RunLockedError", "SmokeTestError", "StageFailedError",
]  # fmt: skip


class PreflightError(RunError):
    """The run cannot start here."""


class RunLockedError(RunError):
    """Another run works in this project folder."""


class CommandFailedError(RunError):
    """A Git or DVC command failed; the message is its own reason."""


class ChampionError(RunError):
    """The champion is not there, or not what its record says."""


class SmokeTestError(ChampionError):
    """The published file does not load, or generates nothing."""


ROOTS = (AnimeLoraError, RunError)
"""What a command prints as one message instead of a traceback."""

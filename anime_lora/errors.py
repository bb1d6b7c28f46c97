"""What can go wrong, as one tree; every message says what, where, the limit and what to do.

AnimeLoraError
├── ParamsError      params.yaml does not fit its models; names every wrong value at once
├── BadImageError    an image file is damaged, too large, or in no known format
├── SourceError      the images or archives cannot be read, or none is left
├── DatasetError     a manifest or dataset folder is missing, damaged or over a stated limit
├── BaseModelError   the base model cannot be found, read or trusted
├── DeviceError      the device asked for is not here, or cannot do what the settings ask for
├── TrainingError    training cannot start or go on
├── AdapterError     a LoRA file is damaged, foreign, or does not fit the base
├── SamplingError    images cannot be generated
├── OutputError      an output folder holds files that are not its writer's to delete
│   └── FullDiskError    there is no room for what is to be written
└── EvaluationError  metrics cannot be computed

A user's mistake ends in one of these: the commands catch the root, print the message without a traceback and exit with
`EXIT_CODE`. What only a run can meet (Git, DVC, the run lock) has a root of its own, `flows.errors.RunError`.
"""

EXIT_CODE = 2
"""Exit code of a command that ended in an `AnimeLoraError`."""


class AnimeLoraError(Exception):
    """Root of every error a user can cause or mend."""


class ParamsError(AnimeLoraError):
    """`params.yaml` does not fit its models."""


class SourceError(AnimeLoraError):
    """Source images or archives cannot be used."""


class BadImageError(AnimeLoraError):
    """An image file is damaged, too large, or in no format that is opened.

    Args:
        reason: the message, for people.
        code: the same in a word, for counting: `damaged`, `no_image`, `format` (one that is not opened), `too_large`,
            `bomb`, `memory` or `unreadable`.
    """

    def __init__(self, reason: str, code: str = "damaged") -> None:
        super().__init__(reason)
        self.code = code


class DatasetError(AnimeLoraError):
    """A manifest or a dataset folder is missing, damaged or over a limit."""


class BaseModelError(AnimeLoraError):
    """The base model cannot be found, read or trusted."""


class DeviceError(AnimeLoraError):
    """The device asked for is not here, or cannot do what the settings ask for."""


class TrainingError(AnimeLoraError):
    """Training cannot start or go on."""


class AdapterError(AnimeLoraError):
    """A LoRA file is damaged, foreign, or does not fit the base."""


class SamplingError(AnimeLoraError):
    """Images cannot be generated."""


class OutputError(AnimeLoraError):
    """An output folder holds files that are not its writer's to delete."""


class FullDiskError(OutputError):
    """There is no room for what is to be written: on the disk, or in the user's share of it."""


class EvaluationError(AnimeLoraError):
    """Metrics cannot be computed."""

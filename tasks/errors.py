"""Root of what ends a run of the orchestration, and the two errors of a stage; `flows.errors` shows the whole tree."""


class RunError(Exception):
    """Root: the run ends with the message, which says what failed and what to do; no traceback is printed."""


class StageFailedError(RunError):
    """A stage or another command of a run failed; the message is its own reason."""


class RunCancelledError(RunError):
    """Somebody cancelled the run that a stage belongs to."""

"""What a killed or failed run left uncommitted is put back to what HEAD says: an override, a promotion, a decision."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from anime_lora.config import paths
from flows.champion import store
from flows.champion.history import HISTORY, read_history
from flows.champion.triggers import SOURCES
from flows.errors import ChampionError, CommandFailedError
from flows.runtime import overrides
from flows.runtime.dvc import DVC_LOCK, dvc
from flows.runtime.git import git, restore_files
from flows.runtime.process import succeeds

log = logging.getLogger("prefect.undo")
METRICS = paths.EVALUATE / "metrics.json"
MODELS = (store.POINTER, HISTORY, SOURCES)


def undo_uncommitted() -> None:
    """Put back what is not committed: an override with the outputs of its stages, a promotion, a decision.

    Raises:
        ChampionError: the files of HEAD's champion are nowhere.
        CommandFailedError: DVC or Git refuses.
    """
    # The run was killed between its commit and `keep_override`: the override won.
    if succeeds("git", "diff", "--quiet", "HEAD", "--", str(paths.PARAMS)):
        overrides.keep_override()
    _discard_pending_override()
    undecided = git("status", "--porcelain", "--untracked-files=all", "--", *map(str, MODELS))
    if undecided:
        restore_files(HISTORY, SOURCES)
    promoted = {entry.adapter for entry in read_history() if entry.outcome == "promoted"}
    if undecided or store.is_unpromoted(promoted):
        store.restore()


@contextmanager
def undo_on_failure() -> Iterator[None]:
    """What the block leaves uncommitted when it fails is put back; a failure of that is only a warning.

    Otherwise the folder would show a champion and a decision all day that the next run takes away.
    """
    try:
        yield
    except BaseException:
        try:
            undo_uncommitted()
        except (CommandFailedError, ChampionError) as error:
            log.warning("the next run puts back what is not committed: %s", error)
        raise


@contextmanager
def discard_undecided_override() -> Iterator[None]:
    """An override that the block leaves without a decision is discarded with the outputs that were made of it."""
    try:
        yield
    finally:
        _discard_pending_override()


def discard_override() -> None:
    """Put params.yaml, dvc.lock, metrics and the stages' outputs back to HEAD; params last, so that a kill is seen.

    Raises:
        CommandFailedError: DVC or Git refuses; params.yaml is put back all the same.
    """
    try:
        restore_files(DVC_LOCK, METRICS)
        if DVC_LOCK.is_file():
            dvc("checkout", "--force")
    finally:
        overrides.restore_params()


def _discard_pending_override() -> None:
    if not overrides.is_pending():
        return
    try:
        discard_override()
    except CommandFailedError as error:  # the run ends with its own reason, not with this one
        log.warning("data/ is as the override left it: %s", error)

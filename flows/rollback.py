"""Rollback: the champion before this one comes back, byte for byte, and the history says so."""

import logging
from dataclasses import replace

from anime_lora.files import sha256_file
from flows.champion import record, store
from flows.champion.history import HistoryEntry, append_entry, now, read_history, standing_promotions
from flows.champion.preflight import check_git
from flows.champion.undo import MODELS, undo_on_failure
from flows.champion.versions import Version
from flows.errors import ChampionError, CommandFailedError, PreflightError
from flows.runtime.git import git
from flows.runtime.lock import run_lock
from flows.runtime.notify import notify

log = logging.getLogger("prefect.rollback")


def rollback(reason: str) -> HistoryEntry:
    """Make the previous champion the champion again; commit, tag and push as a retraining does.

    Raises:
        RunLockedError: a run works in this folder.
        PreflightError: Git cannot commit here, or others pushed while commits of this folder were not.
        ChampionError: there is no earlier champion, or its files are not what its record says.
        CommandFailedError: DVC or Git refuses.
    """
    with run_lock():
        check_git()
        record.settle_earlier_runs()
        standing = standing_promotions(read_history())
        if len(standing) < 2:
            raise ChampionError(
                f"there is no champion before {standing[0].version if standing else 'the first'}: nothing to go back to"
            )
        current, previous = standing[-1], standing[-2]
        with undo_on_failure():
            checkout_previous(previous)
            why = f"{current.version} goes, {previous.version} is back"
            entry = replace(
                previous, at=now(), outcome="rolled back", reason=reason, asked="by hand", why=why, tests=()
            )
            append_entry(entry)
            try:
                record.push_data()
            except (PreflightError, CommandFailedError) as error:  # its data was pushed when it was promoted
                log.warning("going on, the next run that decides sends what DVC's remote lacks: %s", error)
            record.commit(entry, MODELS, f"Roll back to {previous.version}: {reason}")
        try:
            record.deliver(entry)
        finally:
            notify(entry.outcome, f"{why}: {reason}")
    return entry


def checkout_previous(previous: HistoryEntry) -> None:
    """Check the previous champion out of DVC and compare its bytes with the history's.

    Raises:
        ChampionError: they differ, or are nowhere.
    """
    tag = Version(str(previous.version), previous.reason).tag
    store.POINTER.write_text(git("show", f"{tag}:{store.POINTER}"), encoding="utf-8")
    store.checkout()
    sha256 = sha256_file(store.FOLDER / store.ADAPTER)
    if sha256 != previous.adapter:
        raise ChampionError(
            f"the files of {previous.version} hold another LoRA (sha256 {sha256[:12]}) than its record says "
            f"({previous.adapter[:12]}): the champion stays as it is"
        )

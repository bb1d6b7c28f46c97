"""Rollback: the champion before this one comes back, byte for byte, and the history says so."""

import logging
from dataclasses import replace

from anime_lora.files import sha256_file
from flows.champion import history, record, store, versions
from flows.champion.preflight import PreflightError, committable
from flows.champion.store import ChampionError
from flows.runtime import notify
from flows.runtime.lock import run_lock
from flows.runtime.process import CommandFailedError, git

log = logging.getLogger("prefect.rollback")


def rollback(reason: str) -> history.Entry:
    """Make the previous champion the champion again; commit, tag and push as a retraining does.

    Raises:
        RunLockedError: a run works in this folder.
        PreflightError: Git cannot commit here, or others pushed while commits of this folder waited.
        ChampionError: there is no earlier champion, or its files are not what its record says.
        CommandFailedError: DVC or Git refuses.
    """
    with run_lock():
        committable()
        record.settle()
        standing = history.line_of_champions(history.read())
        if len(standing) < 2:
            raise ChampionError(
                f"there is no champion before {standing[0].version if standing else 'the first'}: nothing to go back to"
            )
        gone, back = standing[-1], standing[-2]
        pointer = git("show", f"{versions.tag(str(back.version))}:{store.POINTER}")
        with record.undone():
            bring_back(pointer, back)
            why = f"{gone.version} goes, {back.version} is back"
            entry = replace(
                back, at=history.now(), outcome="rolled back", reason=reason, asked="by hand", why=why, tests=[]
            )
            history.append(entry)
            try:
                record.send_data()
            except (PreflightError, CommandFailedError) as error:  # its data was sent when it was promoted
                log.warning("going on, the next run that decides sends what DVC's remote lacks: %s", error)
            record.commit(entry, record.MODELS, f"Roll back to {back.version}: {reason}")
        try:
            record.deliver(entry)
        finally:
            notify.notify(entry.outcome, f"{why}: {reason}")
    return entry


def bring_back(pointer: str, back: history.Entry) -> None:
    """Check the previous champion out of DVC and compare its bytes with the history's."""
    store.POINTER.write_text(pointer, encoding="utf-8")
    store.bring()
    found = sha256_file(store.FOLDER / store.ADAPTER)
    if found != back.adapter:
        raise ChampionError(
            f"the files of {back.version} hold another LoRA (sha256 {found[:12]}) than its record says "
            f"({back.adapter[:12]}): the champion stays as it is"
        )

"""A decision becomes history: `dvc push`, commit, tag, `git push`, in this order.

No commit may point at data that is not on the remote, no tag at a commit that may still fail.
"""

import logging
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from anime_lora.config import paths
from anime_lora.files import write_jsonl
from flows.champion import remote, versions
from flows.champion.compare import Verdict
from flows.champion.history import HistoryEntry, append_entry, next_version, now, read_history
from flows.champion.triggers import SOURCES, Work
from flows.champion.undo import METRICS, MODELS, discard_override, undo_uncommitted
from flows.errors import CommandFailedError
from flows.runtime import overrides
from flows.runtime.dvc import DVC_LOCK, check_remote, dvc
from flows.runtime.git import git, restore_files

log = logging.getLogger("prefect.record")
COMMITTED = (DVC_LOCK, METRICS, *MODELS)
"""What a retraining commits, beside an override that won."""


def settle_earlier_runs() -> str | None:
    """Start from what is committed here and pushed by others, and send what earlier runs did not send.

    Returns why that cannot be sent now, None when all is sent: a run with something to decide sends again at its end.

    Raises:
        PreflightError: others pushed while commits of this folder were not.
        CommandFailedError: DVC or Git refuses.
    """
    undo_uncommitted()
    if remote.others_pushed():
        restore_files(DVC_LOCK, METRICS)  # of a run that failed; DVC makes them anew
        remote.fast_forward()
    untagged = versions.untagged_versions(versions.standing_versions())
    if untagged:
        versions.delete_stale_tags(untagged)
        remote.fetch_tags()  # a clone may be without, and others may have the version
    standing = versions.standing_versions()
    if read_history() and (remote.has_unpushed_commits() or not versions.all_tagged(standing)):
        try:
            tag_and_push()
        except CommandFailedError as error:
            log.warning("what earlier runs decided is not sent: %s", error)
            return str(error)
    return None


def record_decision(verdict: Verdict, asked: str, work: Work, changes: list[str]) -> HistoryEntry:
    """Write the decision down, send its data where DVC has a remote, and commit; `deliver` is to follow.

    A challenger with overrides that loses leaves nothing but its line: params, dvc.lock and outputs go back to HEAD.

    Args:
        verdict: of the comparison.
        asked: what started the run.
        work: why it ran.
        changes: overrides of params.yaml.

    Raises:
        CommandFailedError: DVC or Git refuses. The next run goes on from there.
    """
    history = read_history()
    champion = next((version.name for version in reversed(versions.standing_versions())), None)
    version = next_version(history) if verdict.promoted else champion
    entry = HistoryEntry(
        at=now(), outcome="promoted" if verdict.promoted else "rejected", reason=verdict.reason, asked=asked,
        why=work.why, version=version, adapter=verdict.adapter, overrides=tuple(changes), tests=verdict.tests,
    )  # fmt: skip
    if changes and not verdict.promoted:
        discard_override()
    else:
        write_jsonl(SOURCES, work.sources)
    append_entry(entry)
    params = (paths.PARAMS,) if changes and verdict.promoted else ()
    # Data before the commit that names it: a clone of the commit could not pull what is not on the remote.
    push_data()
    commit(entry, (*COMMITTED, *params), f"{entry.outcome.capitalize()} {version or 'no champion yet'}: {work.why}")
    return entry


def push_data() -> None:
    """`dvc push` with the run-cache, where DVC has a remote.

    Raises:
        PreflightError, CommandFailedError: the remote does not answer, or takes nothing.
    """
    if check_remote() is not None:
        dvc("push", "--quiet", "--run-cache", cure="the next run tries again")


def commit(entry: HistoryEntry, files: tuple[Path, ...], subject: str) -> None:
    """Commit: from here on the decision stands, and with it an override."""
    existing = [str(file) for file in files if file.is_file()]  # a first run may end without a champion
    git("add", "--", *existing)
    git("commit", "--quiet", "--message", subject[:72], "--message", commit_message(entry), "--", *existing)
    overrides.keep_override()


def commit_message(entry: HistoryEntry) -> str:
    """The commit's message below its subject."""
    lines = [entry.reason, "", f"Asked: {entry.asked}", f"Adapter: sha256 {entry.adapter}"]
    return "\n".join([*lines, *(f"Override: {change}" for change in entry.overrides)])


def deliver(entry: HistoryEntry) -> None:
    """Tag and push the decision that was committed.

    Raises:
        CommandFailedError: Git refuses; the message says what was decided. The next run goes on from there.
    """
    decided = {"promoted": f"promoted {entry.version}", "rolled back": f"rolled back to {entry.version}"}
    try:
        tag_and_push()
    except CommandFailedError as error:
        raise CommandFailedError(f"{decided.get(entry.outcome, entry.outcome)}, not sent: {error}") from None


def tag_and_push() -> None:
    """Complete the tags, then push commits and tags where the branch has a remote."""
    versions.tag_versions(versions.standing_versions())
    remote.push()


def show_decision(entry: HistoryEntry) -> None:
    """Markdown artifact `decision`."""
    description = f"{entry.outcome}: {entry.reason}"[:200]
    create_markdown_artifact(markdown=decision_page(entry), key="decision", description=description)


def decision_page(entry: HistoryEntry) -> str:
    """The decision with every test behind it, in Markdown."""
    head = [
        f"# {entry.outcome.capitalize()}",
        "",
        entry.reason,
        "",
        f"Champion: {entry.version or 'none yet'}; why this run: {entry.why}; asked: {entry.asked}",
        "",
        "| test | | passed | |",
        "|---|---|---|---|",
    ]
    rows = [f"| {test.kind} | {test.name} | {'✓' if test.passed else '✗'} | {test.text} |" for test in entry.tests]
    return "\n".join([*head, *rows]) + "\n"

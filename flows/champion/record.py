"""A decision becomes history: `dvc push`, commit, tag, `git push`, in this order.

No commit may point at data that is not on the remote, no tag at a commit that may still fail.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from anime_lora.config import paths
from anime_lora.files import write_jsonl
from flows.champion import history, store, versions
from flows.champion import remote as upstream
from flows.champion.compare import Verdict
from flows.champion.preflight import remote
from flows.champion.triggers import SOURCES, Work
from flows.champion.why import LOCK
from flows.runtime import overrides
from flows.runtime.process import CommandFailedError, dvc, git, succeeds

log = logging.getLogger("prefect.record")
METRICS = paths.EVALUATE / "metrics.json"
MODELS = (store.POINTER, history.HISTORY, SOURCES)
OURS = (LOCK, METRICS, *MODELS)
"""What a retraining commits, beside an override that won."""


def conclude(verdict: Verdict, asked: str, work: Work, changes: list[str]) -> history.Entry:
    """Write the decision down, send its data where DVC has a remote, and commit; `deliver` is to follow.

    A challenger with overrides that loses leaves nothing but its line: params, dvc.lock and outputs go back to HEAD.

    Raises:
        CommandFailedError: DVC or Git refuses. The next run goes on from there.
    """
    entries = history.read()
    reigning = next(reversed(standing()), None)
    version = history.next_version(entries) if verdict.promoted else reigning
    entry = history.Entry(
        at=history.now(), outcome="promoted" if verdict.promoted else "rejected", reason=verdict.reason, asked=asked,
        why=work.why, version=version, adapter=verdict.adapter, overrides=changes, tests=verdict.tests,
    )  # fmt: skip
    if changes and not verdict.promoted:
        go_back()
    else:
        write_jsonl(SOURCES, work.rows)
    history.append(entry)
    kept = (paths.PARAMS,) if changes and verdict.promoted else ()
    send_data()
    commit(entry, (*OURS, *kept), f"{entry.outcome.capitalize()} {version or 'no champion yet'}: {work.why}")
    return entry


def go_back() -> None:
    """Params, dvc.lock, metrics and the stages' outputs as HEAD has them; params last, so that a kill is seen."""
    try:
        put_back(LOCK, METRICS)
        if LOCK.is_file():
            dvc("checkout", "--force")
    finally:
        overrides.take_back()


def abandon() -> None:
    """Go back from an override whose run ended undecided; DVC that cannot is a warning, not the run's reason."""
    try:
        go_back()
    except CommandFailedError as error:
        log.warning("data/ is as the override left it: %s", error)


def put_back(*files: Path) -> None:
    """Files as HEAD has them; those it lacks are removed."""
    for file in files:
        if succeeds("git", "cat-file", "-e", f"HEAD:{file}"):
            git("checkout", "HEAD", "--", str(file))
        else:
            git("rm", "--cached", "--quiet", "--ignore-unmatch", str(file))
            file.unlink(missing_ok=True)


def send_data() -> None:
    """`dvc push` with the run-cache, where DVC has a remote.

    Raises:
        PreflightError, CommandFailedError: the remote does not answer, or takes nothing.
    """
    if remote() is not None:
        dvc("push", "--quiet", "--run-cache", cure="the next run tries again")


def commit(entry: history.Entry, files: tuple[Path, ...], subject: str) -> None:
    """Commit: from here on the decision stands."""
    there = [str(file) for file in files if file.is_file()]
    git("add", "--", *there)
    git("commit", "--quiet", "--message", subject[:72], "--message", body(entry), "--", *there)
    overrides.keep()


def deliver(entry: history.Entry) -> None:
    """Tag and push the decision that was committed.

    Raises:
        CommandFailedError: Git refuses; the message says what was decided. The next run goes on from there.
    """
    decided = {"promoted": f"promoted {entry.version}", "rolled back": f"rolled back to {entry.version}"}
    try:
        tag_and_send()
    except CommandFailedError as error:
        raise CommandFailedError(f"{decided.get(entry.outcome, entry.outcome)}, not sent: {error}") from None


def body(entry: history.Entry) -> str:
    """The commit's message below its subject."""
    lines = [entry.reason, "", f"Asked: {entry.asked}", f"Adapter: sha256 {entry.adapter}"]
    return "\n".join([*lines, *(f"Override: {change}" for change in entry.overrides)])


def tag_and_send() -> None:
    """Complete the tags, then push commits and tags where the branch has a remote."""
    versions.mark(standing())
    upstream.send()


def standing() -> dict[str, str]:
    """The versions that stand, the champion last, and why each was promoted."""
    return {str(entry.version): entry.reason for entry in history.line_of_champions(history.read())}


def settle() -> str | None:
    """Start from what is committed here and pushed by others, and send what earlier runs did not send.

    Returns why that cannot be sent now, which holds nobody up: who has something to decide sends again at the end.

    Raises:
        PreflightError: others pushed while commits of this folder waited.
        CommandFailedError: DVC or Git refuses.
    """
    undo()
    if upstream.has_news():
        put_back(LOCK, METRICS)  # a failed run's, which DVC knows to make anew
        upstream.take_over()
    lacking = versions.missing(standing())
    if lacking:
        versions.drop_lost(lacking)
        upstream.fetch_tags()  # a clone may be without, and others may have the version
    if history.read() and (upstream.waiting() or not versions.marked(standing())):
        try:
            tag_and_send()
        except CommandFailedError as error:
            log.warning("what earlier runs decided is not sent: %s", error)
            return str(error)
    return None


def undo() -> None:
    """Put back what is not committed: an override with what its stages made, a promotion, a decision.

    Raises:
        ChampionError: the files of HEAD's champion can be found nowhere.
    """
    if succeeds("git", "diff", "--quiet", "HEAD", "--", str(paths.PARAMS)):
        overrides.keep()
    if overrides.pending():
        abandon()
    undecided = git("status", "--porcelain", "--untracked-files=all", "--", *map(str, MODELS))
    if undecided:
        put_back(history.HISTORY, SOURCES)
    if undecided or store.foreign({entry.adapter for entry in history.read() if entry.outcome == "promoted"}):
        store.restore()


@contextmanager
def undone() -> Iterator[None]:
    """What the block leaves uncommitted when it fails is put back; what that meets is a warning, not the run's reason.

    Otherwise the folder would show a champion and a decision all day that the next night takes away.
    """
    try:
        yield
    except BaseException:
        try:
            undo()
        except (CommandFailedError, store.ChampionError) as error:
            log.warning("the next run puts back what is not committed: %s", error)
        raise


def show(entry: history.Entry) -> None:
    """Markdown artifact `decision`."""
    create_markdown_artifact(markdown=page(entry), key="decision", description=f"{entry.outcome}: {entry.reason}"[:200])


def page(entry: history.Entry) -> str:
    """The decision with every test behind it."""
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
    rows = [
        f"| {test['kind']} | {test['name']} | {'✓' if test['passed'] else '✗'} | {test['text']} |"
        for test in entry.tests
    ]
    return "\n".join([*head, *rows]) + "\n"

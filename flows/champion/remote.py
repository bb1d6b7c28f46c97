"""The branch and the one it follows on a remote: what others pushed is taken over, what waits here is sent."""

import logging

from flows.champion.preflight import PreflightError
from flows.runtime.process import CommandFailedError, git, succeeds

log = logging.getLogger("prefect.upstream")
CURE = (
    "`git pull --rebase`, then run again (a conflict in models/: `git rebase --skip`, the decision that was pushed "
    "stands; one in dvc.lock alone: keep either side, `dvc repro` makes it anew)"
)


def followed() -> bool:
    """Whether the branch has one on a remote that it follows."""
    return succeeds("git", "rev-parse", "--verify", "--quiet", "@{upstream}")


def has_news() -> bool:
    """Ask the remote whether others pushed; one out of reach is a warning, since it may be back after training.

    Raises:
        PreflightError: they did, and commits of this folder wait too: a push would be refused after hours of training.
    """
    if not followed():
        return False
    deepen()
    try:
        git("fetch", "--quiet")
    except CommandFailedError as error:
        log.warning("going on with the commits that are here: %s", error)
    theirs = _count("HEAD..@{upstream}")
    if theirs and waiting():
        raise PreflightError(
            f"others pushed {theirs} commits, and {_count('@{upstream}..HEAD')} of this folder are not sent: {CURE}"
        )
    return theirs > 0


def deepen() -> None:
    """Fetch the commits and tags that a shallow clone lacks: versions are counted by tags, decisions found in commits.

    Raises:
        CommandFailedError: the remote does not answer; without them a night would decide on half of the record.
    """
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        git("fetch", "--quiet", "--unshallow", "--tags")


def fetch_tags() -> None:
    """Fetch the tags that a clone left out; a remote out of reach is a warning, as in `has_news`."""
    if followed():
        try:
            git("fetch", "--quiet", "--tags")
        except CommandFailedError as error:
            log.warning("going on with the tags that are here: %s", error)


def take_over() -> None:
    """Go on from what others pushed.

    Raises:
        CommandFailedError: they changed a file that is changed here too.
    """
    git(
        "merge", "--quiet", "--ff-only", "@{upstream}",
        cure="commit or stash what is changed here, `git pull --rebase`, then run again",
    )  # fmt: skip


def waiting() -> bool:
    """Whether commits wait for `git push`; all do where there is a remote and the branch follows none of it yet."""
    return _count("@{upstream}..HEAD") > 0 if followed() else bool(git("remote").strip())


def send() -> None:
    """`git push` of the branch and its annotated tags, no tag without its commit; nothing without a remote.

    Raises:
        CommandFailedError: the remote refuses, for example because somebody else pushed.
    """
    remotes = git("remote").split()
    if followed():
        _push()
    elif remotes:
        _push("--set-upstream", "origin" if "origin" in remotes else remotes[0], "HEAD")


def _push(*where: str) -> None:
    try:
        git("push", "--quiet", "--atomic", "--follow-tags", *where)
    except CommandFailedError as error:
        behind = "! [rejected]" in str(error)  # a remote that is away, or takes no push, needs another cure
        raise CommandFailedError(f"{error}; {CURE}" if behind else str(error)) from None


def _count(commits: str) -> int:
    return int(git("rev-list", "--count", commits))

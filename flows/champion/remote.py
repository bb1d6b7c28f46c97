"""The branch and the one it follows on a remote: what others pushed is merged, what was not pushed is pushed."""

import logging

from flows.errors import CommandFailedError, PreflightError
from flows.runtime.git import git
from flows.runtime.process import succeeds

log = logging.getLogger("prefect.remote")
CURE = (
    "`git pull --rebase`, then run again (a conflict in models/: `git rebase --skip`, the decision that was pushed "
    "stands; one in dvc.lock alone: keep either side, `dvc repro` makes it anew)"
)


def has_upstream() -> bool:
    """Whether the branch follows one on a remote."""
    return succeeds("git", "rev-parse", "--verify", "--quiet", "@{upstream}")


def others_pushed() -> bool:
    """Fetch, and whether there are new commits; a remote that does not answer is a warning: training may go on.

    Raises:
        PreflightError: there are, and commits of this folder are not pushed: the push after training would be refused.
    """
    if not has_upstream():
        return False
    unshallow()
    try:
        git("fetch", "--quiet")
    except CommandFailedError as error:
        log.warning("going on with the commits that are here: %s", error)
    theirs = _count("HEAD..@{upstream}")
    if theirs and has_unpushed_commits():
        raise PreflightError(
            f"others pushed {theirs} commits, and {_count('@{upstream}..HEAD')} of this folder are not sent: {CURE}"
        )
    return theirs > 0


def unshallow() -> None:
    """Fetch the commits and tags that a shallow clone lacks: versions are counted by tags, decisions are commits.

    Raises:
        CommandFailedError: the remote does not answer; without them a run would decide on half of the history.
    """
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        git("fetch", "--quiet", "--unshallow", "--tags")


def fetch_tags() -> None:
    """Fetch the tags that a clone left out; a remote that does not answer is a warning, as in `others_pushed`."""
    if has_upstream():
        try:
            git("fetch", "--quiet", "--tags")
        except CommandFailedError as error:
            log.warning("going on with the tags that are here: %s", error)


def fast_forward() -> None:
    """Go on from what others pushed.

    Raises:
        CommandFailedError: they changed a file that is changed here too.
    """
    git(
        "merge", "--quiet", "--ff-only", "@{upstream}",
        cure="commit or stash what is changed here, `git pull --rebase`, then run again",
    )  # fmt: skip


def has_unpushed_commits() -> bool:
    """Whether commits are not pushed; all are not where there is a remote and the branch follows none of it yet."""
    return _count("@{upstream}..HEAD") > 0 if has_upstream() else bool(git("remote").strip())


def push() -> None:
    """`git push` of the branch and its annotated tags, no tag without its commit; nothing without a remote.

    Raises:
        CommandFailedError: the remote refuses, for example because somebody else pushed.
    """
    remotes = git("remote").split()
    if has_upstream():
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

"""The branch and the one it follows on a remote: what waits here is sent, all of it or nothing."""

from flows.commands import git, succeeds

CURE = "`git pull --rebase`, then run again (a conflict in dvc.lock: keep either side, `dvc repro` makes it anew)"


def followed() -> bool:
    """Whether the branch has one on a remote that it follows."""
    return succeeds("git", "rev-parse", "--verify", "--quiet", "@{upstream}")


def waiting() -> bool:
    """Whether commits wait for `git push`."""
    return followed() and git("rev-list", "--count", "@{upstream}..HEAD").strip() != "0"


def send() -> None:
    """`git push` of the branch and its annotated tags, no tag without its commit; nothing without a remote.

    Raises:
        CommandFailedError: the remote refuses, for example because somebody else pushed.
    """
    remotes = git("remote").split()
    if followed():
        git("push", "--quiet", "--atomic", "--follow-tags", cure=CURE)
    elif remotes:
        name = "origin" if "origin" in remotes else remotes[0]
        git("push", "--quiet", "--atomic", "--follow-tags", "--set-upstream", name, "HEAD", cure=CURE)

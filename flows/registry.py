"""Versions as GTO's annotated Git tags: `anime-lora@v2.0.0` names a promotion, `anime-lora#champion#3` who reigns."""

from flows.champion import POINTER
from flows.commands import CommandFailedError, git, succeeds

NAME, STAGE = "anime-lora", "champion"


def tag(version: str) -> str:
    """The Git tag of a version."""
    return f"{NAME}@{version}"


def mark(version: str, message: str) -> None:
    """Register `version` and make it the champion; does only what is missing, so a killed run's tags are completed.

    Raises:
        CommandFailedError: Git refuses the tags.
    """
    import gto.api
    from gto.exceptions import GTOException

    drop_lost(version)
    try:
        if not registered(version):
            commit = git("log", "-1", "--format=%H", "--", str(POINTER)).strip()
            gto.api.register(".", NAME, commit, version=version, message=message)
        if not marked(version):
            gto.api.assign(".", NAME, STAGE, version=version, message=message, force=True)
    except GTOException as error:
        raise CommandFailedError(f"version {version} got no tag: {error}") from error


def drop_lost(version: str) -> None:
    """Delete the tags of a commit that a rebase left behind; the version's new commit is to have them."""
    name = tag(version)
    if registered(version) or not succeeds("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{name}"):
        return
    git("tag", "--delete", *git("tag", "--list", f"{NAME}[@#]*", "--points-at", _commit(name)).split())


def registered(version: str) -> bool:
    """Whether `version` has its tag, on a commit of this branch."""
    return tag(version) in _tags(tag(version))


def marked(version: str) -> bool:
    """Whether `version` has its tag and reigns."""
    return registered(version) and _commit(tag(version)) == reigning()


def reigning() -> str | None:
    """The commit of this branch that the newest assignment points at."""
    tags = _tags(f"{NAME}#{STAGE}#*")
    return _commit(max(tags, key=lambda name: int(name.rsplit("#", 1)[1]))) if tags else None


def _tags(pattern: str) -> list[str]:
    return git("tag", "--list", pattern, "--merged", "HEAD").split()


def _commit(name: str) -> str:
    return git("rev-parse", f"{name}^{{commit}}").strip()

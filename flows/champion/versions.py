"""Versions as GTO's annotated Git tags: `anime-lora@v2.0.0` names a promotion, `anime-lora#champion#3` who reigns."""

from collections.abc import Iterable

from flows.champion.history import HISTORY
from flows.runtime.process import CommandFailedError, git, succeeds

NAME, STAGE = "anime-lora", "champion"


def tag(version: str) -> str:
    """The Git tag of a version."""
    return f"{NAME}@{version}"


def mark(versions: dict[str, str]) -> None:
    """Register every version that stands, and make the last one the champion; does only what is missing.

    So a killed run's tags are completed, and those that a rebase left behind are set anew.

    Args:
        versions: what to say of each, the oldest first.

    Raises:
        CommandFailedError: Git refuses the tags.
    """
    import gto.api
    from gto.exceptions import GTOException

    lacking = missing(versions)
    drop_lost(lacking)
    newest = list(versions)[-1:]
    try:
        for version in lacking:
            gto.api.register(".", NAME, promotion(version), version=version, message=versions[version])
        for version in [*lacking, *newest]:
            if _commit(tag(version)) != reigning():
                gto.api.assign(".", NAME, STAGE, version=version, message=versions[version], force=True)
    except GTOException as error:
        raise CommandFailedError(f"versions {', '.join(lacking or newest)} got no tag: {error}") from error


def drop_lost(versions: Iterable[str]) -> None:
    """Delete the tags of commits that a rebase left behind; the versions' new commits are to have them."""
    for name in map(tag, versions):
        if succeeds("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{name}"):
            git("tag", "--delete", *git("tag", "--list", f"{NAME}[@#]*", "--points-at", _commit(name)).split())


def missing(versions: Iterable[str]) -> list[str]:
    """Those that have no tag on a commit of this branch."""
    there = set(_tags(f"{NAME}@*"))
    return [version for version in versions if tag(version) not in there]


def marked(versions: Iterable[str]) -> bool:
    """Whether every version has its tag, and the last one reigns."""
    return not missing(versions) and all(_commit(tag(newest)) == reigning() for newest in list(versions)[-1:])


def promotion(version: str) -> str:
    """The commit that a version was promoted in: the first in which the history names it."""
    return git("log", "--reverse", "--format=%H", f'-S"{version}"', "--", str(HISTORY)).split()[0]


def reigning() -> str | None:
    """The commit of this branch that the newest assignment points at."""
    tags = _tags(f"{NAME}#{STAGE}#*")
    return _commit(max(tags, key=lambda name: int(name.rsplit("#", 1)[1]))) if tags else None


def _tags(pattern: str) -> list[str]:
    return git("tag", "--list", pattern, "--merged", "HEAD").split()


def _commit(name: str) -> str:
    return git("rev-parse", f"{name}^{{commit}}").strip()

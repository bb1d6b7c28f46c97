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

    try:
        if not registered(version):
            commit = git("log", "-1", "--format=%H", "--", str(POINTER)).strip()
            gto.api.register(".", NAME, commit, version=version, message=message)
        if not marked(version):
            gto.api.assign(".", NAME, STAGE, version=version, message=message, force=True)
    except GTOException as error:
        raise CommandFailedError(f"version {version} got no tag: {error}") from error


def registered(version: str) -> bool:
    """Whether `version` has its tag."""
    return succeeds("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{tag(version)}")


def marked(version: str) -> bool:
    """Whether `version` has its tag and reigns."""
    return registered(version) and _commit(tag(version)) == reigning()


def reigning() -> str | None:
    """The commit that the newest assignment points at."""
    tags = git("tag", "--list", f"{NAME}#{STAGE}#*").split()
    return _commit(max(tags, key=lambda name: int(name.rsplit("#", 1)[1]))) if tags else None


def _commit(name: str) -> str:
    return git("rev-parse", f"{name}^{{commit}}").strip()

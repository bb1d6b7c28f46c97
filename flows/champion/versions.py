"""Versions as GTO's annotated Git tags: `anime-lora@v2.0.0` names a promotion, `anime-lora#champion#3` the champion."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.champion.history import HISTORY, read_history, standing_promotions
from flows.errors import CommandFailedError
from flows.runtime.git import git
from flows.runtime.process import succeeds

NAME, STAGE = "anime-lora", "champion"


@dataclass(frozen=True)
class Version:
    """A promotion that stands: its version, such as `v2.0.0`, and why it was promoted."""

    name: str
    reason: str

    @property
    def tag(self) -> str:
        """The Git tag of the version."""
        return f"{NAME}@{self.name}"


def standing_versions() -> list[Version]:
    """The versions that stand by the history, the champion last."""
    return [Version(str(entry.version), entry.reason) for entry in standing_promotions(read_history())]


def tag_versions(versions: Sequence[Version]) -> None:
    """Register every version, and assign the last one as champion; does only what is missing.

    So a killed run's tags are completed, and those that a rebase left behind are set anew.

    Args:
        versions: those that stand, the oldest first.

    Raises:
        CommandFailedError: Git refuses the tags.
    """
    import gto.api
    from gto.exceptions import GTOException

    untagged = untagged_versions(versions)
    delete_stale_tags(untagged)
    newest = versions[-1:]
    try:
        for version in untagged:
            commit = promotion_commit(version.name)
            gto.api.register(".", NAME, commit, version=version.name, message=version.reason)
        for version in [*untagged, *newest]:
            if _commit(version.tag) != champion_commit():
                # Forced, since after a rollback a version is assigned for the second time, which GTO refuses.
                gto.api.assign(".", NAME, STAGE, version=version.name, message=version.reason, force=True)
    except GTOException as error:
        names = ", ".join(version.name for version in untagged or newest)
        raise CommandFailedError(f"versions {names} got no tag: {error}") from error


def delete_stale_tags(versions: Sequence[Version]) -> None:
    """Delete the tags of commits that a rebase left behind; the versions' new commits are to have them."""
    for version in versions:
        if succeeds("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{version.tag}"):
            git("tag", "--delete", *git("tag", "--list", f"{NAME}[@#]*", "--points-at", _commit(version.tag)).split())


def untagged_versions(versions: Sequence[Version]) -> list[Version]:
    """Those that have no tag on a commit of this branch."""
    tags = set(_tags(f"{NAME}@*"))
    return [version for version in versions if version.tag not in tags]


def all_tagged(versions: Sequence[Version]) -> bool:
    """Whether every version has its tag, and the last one is assigned as champion."""
    return not untagged_versions(versions) and all(_commit(last.tag) == champion_commit() for last in versions[-1:])


def promotion_commit(version: str) -> str:
    """The commit that a version was promoted in: the first in which the history names it."""
    # By the line that the commit adds: after a rebase its hash is another one.
    return git("log", "--reverse", "--format=%H", f'-S"{version}"', "--", str(HISTORY)).split()[0]


def champion_commit() -> str | None:
    """The commit of this branch that the newest assignment points at."""
    tags = _tags(f"{NAME}#{STAGE}#*")
    return _commit(max(tags, key=lambda name: int(name.rsplit("#", 1)[1]))) if tags else None


def _tags(pattern: str) -> list[str]:
    return git("tag", "--list", pattern, "--merged", "HEAD").split()


def _commit(name: str) -> str:
    return git("rev-parse", f"{name}^{{commit}}").strip()

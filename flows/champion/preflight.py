"""What must hold before the first stage starts: each fault in one sentence with its cure."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import Params, load_params
from anime_lora.files import foreign_files
from flows.runtime.process import succeeds

DVC_FILE = Path("dvc.yaml")
SOURCE_DEP = "${{ingest.sources[{}]}}"
SHOWN = 5
"""So many files of one kind are named."""


class PreflightError(Exception):
    """The run cannot start here."""


def preflight() -> None:
    """Check the folder, Git, DVC, the parameters and the sources.

    Raises:
        PreflightError: something is missing; all of it is named.
        ParamsError: params.yaml does not fit.
    """
    if not DVC_FILE.is_file():
        raise PreflightError(f"no {DVC_FILE} in {Path.cwd()}: run from the project's root")
    sources = load_params(paths.PARAMS).ingest.sources
    faults = [*repository_faults(), *source_faults(sources, _ingest_deps()), *output_faults()]
    if faults:
        raise PreflightError("\n".join(faults))


def repository_faults() -> list[str]:
    """DVC works inside a Git repository only; both come with a clone, not with a plain copy of the files."""
    english = {**os.environ, "LC_ALL": "C"}
    asked = ["git", "rev-parse", "--is-inside-work-tree"]
    inside = subprocess.run(asked, capture_output=True, text=True, errors="replace", env=english, check=False)
    if "not a git repository" in inside.stderr:
        faults = ["this folder is no Git repository: `git init` makes it one"]
    else:  # such as a folder that belongs to another user; Git names the cure
        faults = [" ".join(inside.stderr.split())] if inside.returncode else []
    return faults if Path(".dvc").is_dir() else [*faults, "this folder is no DVC project: `dvc init` makes it one"]


def source_faults(sources: tuple[str, ...], deps: list[str]) -> list[str]:
    """DVC sees a new image only in a source that is a dep, by its number or as a path.

    Args:
        sources: `ingest.sources`.
        deps: the deps of ingest as dvc.yaml writes them.
    """
    local = [source for source in sources if "://" not in source]
    absent = [source for source in local if not Path(source).exists()]
    watched = {*deps, *(source for number, source in enumerate(sources) if SOURCE_DEP.format(number) in deps)}
    place = f"in the deps of ingest in {DVC_FILE}, or DVC will not see what changes in it"
    return [
        *(f"ingest.sources: {source} does not exist: correct it in {paths.PARAMS}" for source in absent),
        *(
            f"ingest.sources: {source} is no dep: write `- {SOURCE_DEP.format(number)}` {place}"
            for number, source in enumerate(sources)
            if source in local and source not in watched
        ),
    ]


def output_faults() -> list[str]:
    """DVC empties a stage's outputs before the stage starts, and asks nobody: what is not its own goes first."""
    found = [(folder, name) for folder, writes in paths.WRITES.items() for name in foreign_files(folder, writes)]
    return [
        f"{folder}/{name} is no output of {folder.name}, and would be deleted with the rest of {folder}: "
        "move what is yours elsewhere, or delete it"
        for folder, name in found[:SHOWN]
    ] + ([f"and {len(found) - SHOWN} more such files"] if found[SHOWN:] else [])


def _ingest_deps() -> list[str]:
    document = YAML(typ="safe", pure=True).load(DVC_FILE.read_text(encoding="utf-8"))
    deps: list[str] = document["stages"]["ingest"]["deps"]
    return deps


def ready(params: Params, own: tuple[Path, ...]) -> None:
    """Check what a run needs that commits its result: a folder as committed, and room on the disk.

    Args:
        params: whose sources may hold changes, and whose limit on the disk counts.
        own: files that the run itself writes and commits.

    Raises:
        PreflightError: all faults.
    """
    free = shutil.disk_usage(Path()).free / 2**30
    least = params.retrain.min_free_disk_gb
    room = [f"{free:.1f} GiB of disk are free, less than retrain.min_free_disk_gb = {least:g}: make room (`dvc gc -w`)"]
    inside = [name for name in params.ingest.sources if Path(name).resolve().is_relative_to(Path.cwd())]
    faults = [*uncommitted((*map(str, own), *inside)), *(room if free < least else [])]
    if faults:
        raise PreflightError("\n".join(faults))


def committable() -> None:
    """Check that what a run decides can be committed to a branch.

    Raises:
        PreflightError: all faults.
    """
    faults = repository_faults() or commit_faults()
    if faults:
        raise PreflightError("\n".join(faults))


def commit_faults() -> list[str]:
    """What Git needs for a commit: one before it, a branch, a name."""
    if not succeeds("git", "rev-parse", "--verify", "HEAD"):
        return ["this repository has no commit yet: `git add -A && git commit` makes the first"]
    faults = []
    if not succeeds("git", "symbolic-ref", "--quiet", "HEAD"):
        faults.append("Git is on no branch: `git switch main`, so that the result can be committed to one")
    if not succeeds("git", "var", "GIT_COMMITTER_IDENT"):
        faults.append("Git does not know who commits: `git config user.name NAME` and `git config user.email ADDRESS`")
    return faults


def uncommitted(allowed: tuple[str, ...]) -> list[str]:
    """A commit of the run must say everything that made it: nothing but `allowed` may be uncommitted."""
    asked = [
        "git",
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        *(f":(exclude){name}" for name in allowed),
    ]
    changed = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    if not changed:
        return []
    names = ", ".join(line[3:] for line in changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
    return [f"uncommitted changes in {names}: commit or stash them, so that the result's commit says what made it"]


def equipped(params: Params) -> None:
    """Check what training and sending need: DVC's remote answers, and a GPU is there when one is asked for.

    Raises:
        PreflightError: one of them does not.
    """
    remote()
    if params.compute.device == "cuda" and not succeeds("nvidia-smi", "--list-gpus"):
        raise PreflightError("compute.device = cuda, but nvidia-smi lists no GPU: mend the driver, or set it to auto")


def remote() -> str | None:
    """Where DVC's default remote is, None where there is none.

    Raises:
        PreflightError: `.dvc/config` is wrong, what the remote's kind needs is not installed, or it does not answer.
    """
    from dvc.config import ConfigError, NoRemoteError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return _answering(repo.cloud.get_remote_odb(None, "push"))
    except NoRemoteError:
        return None
    except (ConfigError, ImportError) as error:  # DVC's own words name the key or the package
        raise PreflightError(f"DVC's remote: {error}: correct .dvc/config, or install what it names") from error


def _answering(store: Any) -> str:
    try:
        there = store.fs.exists(store.path)
    except Exception as error:  # every remote has its own errors
        raise PreflightError(f"DVC's remote {store.path} does not answer: {type(error).__name__}: {error}") from error
    place = Path(store.path).parents[2]
    if store.fs.protocol == "local" and not there and not place.is_dir():
        raise PreflightError(
            f"DVC's remote lies in {place}, which is not there: mount the disk, or `dvc remote modify`"
        )
    return str(store.path)

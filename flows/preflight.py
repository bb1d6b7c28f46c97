"""What must hold before the first stage starts: each fault in one sentence with its cure."""

import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from anime_lora import paths
from anime_lora.params.document import load_params

DVC_FILE = Path("dvc.yaml")
FIRST_SOURCE = "${ingest.sources[0]}"


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
    faults = [*repository_faults(), *source_faults(sources, _ingest_deps())]
    if faults:
        raise PreflightError("\n".join(faults))


def repository_faults() -> list[str]:
    """DVC works inside a Git repository only; both come with a clone, not with a plain copy of the files."""
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], capture_output=True, check=False)
    faults = [] if inside.returncode == 0 else ["this folder is no Git repository: `git init` makes it one"]
    return faults if Path(".dvc").is_dir() else [*faults, "this folder is no DVC project: `dvc init` makes it one"]


def source_faults(sources: tuple[str, ...], deps: list[str]) -> list[str]:
    """DVC sees a new picture only in a source that is a dep; the first is one by name, the others by hand.

    Args:
        sources: `ingest.sources`.
        deps: the deps of ingest as dvc.yaml writes them.
    """
    local = [source for source in sources if "://" not in source]
    absent = [source for source in local if not Path(source).exists()]
    watched = {*deps, *(sources[:1] if FIRST_SOURCE in deps else ())}
    add = f"in the deps of ingest in {DVC_FILE}: add it there, or DVC will not see what changes in it"
    return [
        *(f"ingest.sources: {source} does not exist: correct it in {paths.PARAMS}" for source in absent),
        *(f"ingest.sources: {source} is not {add}" for source in local if source not in watched),
    ]


def _ingest_deps() -> list[str]:
    document = YAML(typ="safe", pure=True).load(DVC_FILE.read_text(encoding="utf-8"))
    deps: list[str] = document["stages"]["ingest"]["deps"]
    return deps

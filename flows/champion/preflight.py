"""What must hold before the first stage starts: each problem in one sentence with its cure.

The entry `check` of dvc.yaml belongs to the preflight too, for those who start `dvc repro` without a flow: it refuses
settings that point into what DVC empties. `load_params` checks the same here.
"""

import shutil
from pathlib import Path

from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import Params, load_params
from anime_lora.files import foreign_files
from anime_lora.sampling.model_files import model_problems
from flows.errors import PreflightError
from flows.runtime.dvc import DVC_YAML, check_remote
from flows.runtime.git import changed_files, repository_error
from flows.runtime.process import succeeds

SOURCE_DEP = "${{ingest.sources[{}]}}"
NAMED = 5
"""So many files of one kind are named."""


def preflight() -> None:
    """Check the folder, Git, DVC, the parameters, the sources and the models' files.

    Raises:
        PreflightError: something is missing; all of it is named.
        ParamsError: params.yaml does not fit.
    """
    if not DVC_YAML.is_file():
        raise PreflightError(f"no {DVC_YAML} in {Path.cwd()}: run from the project's root")
    params = load_params(paths.PARAMS)
    sources = source_problems(params.ingest.sources, _ingest_deps())
    _raise_all([*repository_problems(), *sources, *output_problems(), *model_problems(params)])


def check_git() -> None:
    """Check that what a run decides can be committed to a branch.

    Raises:
        PreflightError: all problems.
    """
    _raise_all(repository_problems() or commit_problems())


def check_changes_and_disk(params: Params, own: tuple[Path, ...]) -> None:
    """Check that nothing but `own` and the sources is uncommitted, and that there is room on the disk.

    Args:
        params: whose sources may hold changes, and whose limit on the disk counts.
        own: files that the run itself writes and commits.

    Raises:
        PreflightError: all problems.
    """
    inside = [name for name in params.ingest.sources if Path(name).resolve().is_relative_to(Path.cwd())]
    _raise_all([*uncommitted_problems((*map(str, own), *inside)), *disk_problems(params.retrain.min_free_disk_gb)])


def check_remote_and_gpu(params: Params) -> None:
    """Check what training and sending need: DVC's remote answers, and a GPU is there when one is asked for.

    Raises:
        PreflightError: one of them does not.
    """
    check_remote()
    # The driver's own program instead of torch, which takes three seconds to load.
    if params.compute.device == "cuda" and not succeeds("nvidia-smi", "--list-gpus"):
        raise PreflightError("compute.device = cuda, but nvidia-smi lists no GPU: mend the driver, or set it to auto")


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise PreflightError("\n".join(problems))


def repository_problems() -> list[str]:
    """DVC works inside a Git repository only; both come with a clone, not with a plain copy of the files."""
    error = repository_error()
    if error is not None and "not a git repository" in error:
        error = "this folder is no Git repository: `git init` makes it one"
    problems = [] if error is None else [error]  # such as a folder of another user: Git names the cure itself
    no_dvc = "this folder is no DVC project: `dvc init` makes it one"
    return problems if Path(".dvc").is_dir() else [*problems, no_dvc]


def commit_problems() -> list[str]:
    """What Git needs for a commit: one before it, a branch, a name."""
    if not succeeds("git", "rev-parse", "--verify", "HEAD"):
        return ["this repository has no commit yet: `git add -A && git commit` makes the first"]
    problems = []
    if not succeeds("git", "symbolic-ref", "--quiet", "HEAD"):
        problems.append("Git is on no branch: `git switch main`, so that the result can be committed to one")
    if not succeeds("git", "var", "GIT_COMMITTER_IDENT"):
        problems.append("Git does not know who commits: `git config user.name NAME`, `git config user.email ADDRESS`")
    return problems


def source_problems(sources: tuple[str, ...], deps: list[str]) -> list[str]:
    """DVC sees a new image only in a source that is a dep, by its number or as a path.

    Args:
        sources: `ingest.sources`.
        deps: the deps of ingest as dvc.yaml writes them.
    """
    local = [source for source in sources if "://" not in source]
    absent = [source for source in local if not Path(source).exists()]
    declared = {*deps, *(source for number, source in enumerate(sources) if SOURCE_DEP.format(number) in deps)}
    place = f"in the deps of ingest in {DVC_YAML}, or DVC will not see what changes in it"
    return [
        *(f"ingest.sources: {source} does not exist: correct it in {paths.PARAMS}" for source in absent),
        *(
            f"ingest.sources: {source} is no dep: write `- {SOURCE_DEP.format(number)}` {place}"
            for number, source in enumerate(sources)
            if source in local and source not in declared
        ),
    ]


def _ingest_deps() -> list[str]:
    document = YAML(typ="safe", pure=True).load(DVC_YAML.read_text(encoding="utf-8"))
    deps: list[str] = document["stages"]["ingest"]["deps"]
    return deps


def output_problems() -> list[str]:
    """DVC empties a stage's outputs before the stage starts, without a question: other files in them are named."""
    others = [(folder, name) for folder, writes in paths.WRITES.items() for name in foreign_files(folder, writes)]
    return [
        f"{folder}/{name} is no output of {folder.name}, and would be deleted with the rest of {folder}: "
        "move what is yours elsewhere, or delete it"
        for folder, name in others[:NAMED]
    ] + ([f"and {len(others) - NAMED} more such files"] if others[NAMED:] else [])


def uncommitted_problems(allowed: tuple[str, ...]) -> list[str]:
    """A commit of the run must say everything that made it: nothing but `allowed` may be uncommitted."""
    changed = changed_files(allowed)
    if not changed:
        return []
    names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
    return [f"uncommitted changes in {names}: commit or stash them, so that the result's commit says what made it"]


def disk_problems(limit: float) -> list[str]:
    """Less than `limit` GiB are free."""
    free = shutil.disk_usage(Path()).free / 2**30
    if free >= limit:
        return []
    return [f"{free:.1f} GiB of disk are free, less than retrain.min_free_disk_gb = {limit:g}: make room (`dvc gc -w`)"]

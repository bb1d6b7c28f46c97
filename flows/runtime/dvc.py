"""DVC as a process, its default remote, and what `dvc.lock` says of each stage's last run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from anime_lora.config import paths
from flows.errors import PreflightError
from flows.runtime.process import run_command
from tasks.dvc_internals import file_md5
from tasks.dvc_process import DVC

DVC_YAML, DVC_LOCK = Path("dvc.yaml"), Path("dvc.lock")


def dvc(*arguments: str, cure: str = "") -> str:
    """`dvc …`, waiting for DVC's lock; its output.

    Raises:
        CommandFailedError: with DVC's own reason, and with `cure`.
    """
    return run_command(*DVC, *arguments, cure=cure)


@dataclass(frozen=True)
class LockedFile:
    """A file or folder that a stage read, as it was then."""

    path: Path
    md5: str | None
    """None of what lies behind a URL."""
    nfiles: int | None
    """How many files; None of a file."""
    size: int | None

    @property
    def is_code(self) -> bool:
        """Whether it is part of the library."""
        return self.path.parts[0] == "anime_lora"

    def has_changed(self) -> bool:
        """Whether its bytes are others now; reads all of them."""
        return self.md5 is not None and file_md5(self.path) != self.md5


@dataclass(frozen=True)
class LockedStage:
    """A stage's last run: what it read and wrote, and the values of params.yaml by section."""

    name: str
    deps: tuple[LockedFile, ...]
    outs: tuple[Path, ...]
    params: dict[str, Any]


def locked_stages(text: str) -> list[LockedStage]:
    """The stages of a `dvc.lock`."""
    return list(_stages(YAML(typ="safe", pure=True).load(text)["stages"]))


def _stages(document: dict[str, Any]) -> Iterator[LockedStage]:
    for name, stage in document.items():
        deps = tuple(
            LockedFile(Path(dep["path"]), dep.get("md5"), dep.get("nfiles"), dep.get("size"))
            for dep in stage.get("deps", ())
        )
        outs = tuple(Path(out["path"]) for out in stage.get("outs", ()))
        yield LockedStage(name, deps, outs, stage.get("params", {}).get(paths.PARAMS.name, {}))


def check_remote() -> str | None:
    """Where DVC's default remote is, once it has answered; None where there is none.

    Raises:
        PreflightError: `.dvc/config` is wrong, what the remote's kind needs is not installed, or it does not answer.
    """
    from dvc.config import ConfigError, NoRemoteError
    from dvc.repo import Repo

    try:
        # No command of DVC says in seconds whether a remote answers: `dvc status --cloud` lists all of its files.
        with Repo() as repo:
            return _check_store(repo.cloud.get_remote_odb(None, "push"))
    except NoRemoteError:
        return None
    except (ConfigError, ImportError) as error:  # DVC's own message names the key or the package
        raise PreflightError(f"DVC's remote: {error}: correct .dvc/config, or install what it names") from error


def _check_store(store: Any) -> str:
    try:
        exists = store.fs.exists(store.path)
    except Exception as error:  # every remote has its own errors
        raise PreflightError(f"DVC's remote {store.path} does not answer: {type(error).__name__}: {error}") from error
    parent = Path(store.path).parents[2]
    if store.fs.protocol == "local" and not exists and not parent.is_dir():
        raise PreflightError(
            f"DVC's remote lies in {parent}, which is not there: mount the disk, or `dvc remote modify`"
        )
    return str(store.path)

"""Why a retraining is due, or is not: what is new in the sources, the settings, the code, and what was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anime_lora.config import paths
from anime_lora.config.load import load_params, read_document
from anime_lora.config.section import Retrain
from anime_lora.data import source_diff
from flows.champion.history import HISTORY, days_since_training, read_history
from flows.runtime.dvc import DVC_LOCK, LockedFile, LockedStage, locked_stages
from flows.runtime.git import git, has_file

Stage = Literal["ingest", "validate", "resize", "organize", "train", "validate-sample", "evaluate"]
SOURCES = Path("models/sources.jsonl")
"""The files of the sources at the last retraining that ended, by hash; rewritten only by one that ends."""
NAMED = 2
"""So many changes are named; the rest is counted."""
NO_NEW_DATA = "no new data"


@dataclass(frozen=True)
class Work:
    """Whether there is something to train on, why in a few words, and the sources now."""

    due: bool
    why: str
    changes: source_diff.SourceChanges
    sources: list[source_diff.FileHash]


def find_work(force: str | None, overrides: list[str]) -> Work:
    """Compare sources and settings with the last retraining; hashes new files only, and starts neither DVC nor a GPU.

    Raises:
        SourceError: a source cannot be listed.
    """
    params = load_params(paths.PARAMS)
    sources = source_diff.hash_sources(params.ingest)
    changes = source_diff.compare(source_diff.read_lock(SOURCES), sources)
    asked = [*([f"{force} forced"] if force else []), *overrides]
    settings = [*asked, *([] if overrides else changes_since_decision())]
    waiting = reason_to_wait(changes.images, params.retrain, days_since_training(read_history()))
    if waiting is not None and not settings:
        return Work(False, waiting, changes, sources)
    images = [f"images: {changes.summary()}"] if changes.images else []
    more = [f"{len(settings) - NAMED} more"] if len(settings) > NAMED else []
    return Work(True, ", ".join([*images, *settings[:NAMED], *more]), changes, sources)


def reason_to_wait(images: int, settings: Retrain, age: float | None) -> str | None:
    """Why so few new images are not trained on yet; None when they are enough or have waited long enough.

    Args:
        images: how many are new, changed or removed.
        settings: minimum and maximum age.
        age: days since the last retraining, None without one.
    """
    if images == 0:
        return NO_NEW_DATA
    if images >= settings.min_new_images or age is None:
        return None
    if settings.max_age_days is not None and age >= settings.max_age_days:
        return None
    until = f" or {settings.max_age_days:g} days of age" if settings.max_age_days is not None else ""
    return (
        f"{images} new images wait for retrain.min_new_images = {settings.min_new_images}{until} "
        f"({age:.1f} days since the last retraining)"
    )


def changes_since_decision() -> list[str]:
    """Parameters, code and data beside the sources that differ from those of the last decision.

    Its commit says which they were: dvc.lock in the folder goes on with every stage, also when the run then fails.
    """
    commit = git("log", "-1", "--format=%H", "--", str(HISTORY)).strip()
    if not commit or not has_file(commit, DVC_LOCK):
        return ["first run"]
    stages = locked_stages(git("show", f"{commit}:{DVC_LOCK}"))
    beside = data_changes(stages, without="ingest")
    return [*param_changes(stages, read_document(paths.PARAMS)), *beside, *code_changes(stages)]


def changes_since_last_run(lock: Path = DVC_LOCK, params: Path = paths.PARAMS) -> str:
    """Such as `train.rank 16 → 8`, `3 more files in data/samples/anime`, `first run`, `nothing changed`."""
    if not lock.is_file():
        return "first run"
    stages = locked_stages(lock.read_text(encoding="utf-8"))
    changes = [*data_changes(stages), *param_changes(stages, read_document(params)), *code_changes(stages)]
    more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    return ", ".join(changes[:NAMED]) + more if changes else "nothing changed"


def param_changes(stages: list[LockedStage], params: dict[str, Any]) -> list[str]:
    """Keys whose values differ from those of the last run, as `section.key old → new`."""
    changes: dict[str, None] = {}
    for stage in stages:
        for section, before in stage.params.items():
            changes |= dict.fromkeys(_value_changes(section, before, params.get(section)))
    return list(changes)


def _value_changes(path: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        return [line for name in names for line in _value_changes(f"{path}.{name}", before.get(name), now.get(name))]
    if before == now:
        return []
    short = not isinstance(before, (list, dict)) and not isinstance(now, (list, dict))
    return [f"{path} {before} → {now}" if short else path]


def data_changes(stages: list[LockedStage], without: str = "") -> list[str]:
    """Files that no stage writes and that are others than at the last run; folders by number and size of their files.

    Args:
        stages: of dvc.lock.
        without: a stage whose own are left out.
    """
    outs = [out for stage in stages for out in stage.outs]
    deps = [dep for stage in stages if stage.name != without for dep in stage.deps if not dep.is_code]
    data = [dep for dep in deps if not any(dep.path.is_relative_to(out) for out in outs)]
    folders = [_folder_change(dep) for dep in data if dep.nfiles is not None]
    files = [f"other {dep.path}" for dep in data if dep.nfiles is None and dep.has_changed()]
    return [*filter(None, folders), *files]


def _folder_change(dep: LockedFile) -> str:
    # Not by hash, which takes long for many images; DVC compares hashes when it runs the stage.
    files = [file for file in dep.path.rglob("*") if file.is_file()]
    difference = len(files) - (dep.nfiles or 0)
    if difference:
        return f"{abs(difference)} {'more' if difference > 0 else 'fewer'} files in {dep.path}"
    return f"other files in {dep.path}" if sum(file.stat().st_size for file in files) != dep.size else ""


def code_changes(stages: list[LockedStage]) -> list[str]:
    """Stages whose library code is not that of the last run, as `code of train`."""
    return [f"code of {stage.name}" for stage in stages if any(dep.is_code and dep.has_changed() for dep in stage.deps)]

"""Why a retraining is due, or is not: the sources by content, the settings, what was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import load_params, read_document
from anime_lora.config.section import Retrain
from anime_lora.data import source_diff
from flows.champion import history
from flows.champion.why import LOCK, SHOWN, code_changes, data_changes, param_changes
from flows.runtime.process import git, succeeds

Stage = Literal["ingest", "validate", "resize", "organize", "train", "validate-sample", "evaluate"]
SOURCES = Path("models/sources.jsonl")
"""The files of the sources at the last retraining that ended, by hash; rewritten only by one that ends."""
NOTHING = "no new data"


@dataclass(frozen=True)
class Work:
    """Whether there is something to train on, why in a few words, and the sources now."""

    due: bool
    why: str
    difference: source_diff.SourceChanges
    rows: list[source_diff.FileHash]


def look(force: str | None, overrides: list[str]) -> Work:
    """Compare sources and settings with the last retraining; hashes new files only, and asks neither DVC nor a GPU.

    Raises:
        SourceError: a source cannot be listed.
    """
    params = load_params(paths.PARAMS)
    rows = source_diff.hash_sources(params.ingest)
    found = source_diff.compare(source_diff.read_lock(SOURCES), rows)
    asked = [*([f"{force} forced"] if force else []), *overrides]
    settings = [*asked, *([] if overrides else setting_changes())]
    waiting = waits(found.images, params.retrain, history.days_since_training(history.read()))
    images = [f"images: {found.summary()}"] if found.images else []
    named = [*images, *settings[:SHOWN], *([f"{len(settings) - SHOWN} more"] if len(settings) > SHOWN else [])]
    if settings or waiting is None:
        return Work(True, ", ".join(named), found, rows)
    return Work(False, waiting, found, rows)


def setting_changes() -> list[str]:
    """Parameters, stages' code and data beside the sources that differ from those of the last decision.

    Its commit says which they were: dvc.lock in the folder goes on with every stage, also when the night then fails.
    """
    commit = git("log", "-1", "--format=%H", "--", str(history.HISTORY)).strip()
    if not commit or not succeeds("git", "cat-file", "-e", f"{commit}:{LOCK}"):
        return ["first run"]
    stages = YAML(typ="safe", pure=True).load(git("show", f"{commit}:{LOCK}"))["stages"]
    beside = data_changes(stages, but="ingest")
    return [*param_changes(stages, read_document(paths.PARAMS)), *beside, *code_changes(stages)]


def waits(images: int, settings: Retrain, age: float | None) -> str | None:
    """Why so few new images are not trained on yet; None when they are enough or have waited long enough.

    Args:
        images: how many are new, changed or removed.
        settings: minimum and maximum age.
        age: days since the last retraining, None without one.
    """
    if images == 0:
        return NOTHING
    if images >= settings.min_new_images or age is None:
        return None
    if settings.max_age_days is not None and age >= settings.max_age_days:
        return None
    until = f" or {settings.max_age_days:g} days of age" if settings.max_age_days is not None else ""
    return (
        f"{images} new images wait for retrain.min_new_images = {settings.min_new_images}{until} "
        f"({age:.1f} days since the last retraining)"
    )

"""Why a run has something to do, in a few words: what differs between `dvc.lock` and the folder as it is now."""

import hashlib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from anime_lora import paths
from anime_lora.params.document import read_document

LOCK = Path("dvc.lock")
SHOWN = 2
"""So many changes are named; the rest is counted."""


def why(lock: Path = LOCK, params: Path = paths.PARAMS) -> str:
    """Such as `train.rank 16 → 8`, `3 more files in data/samples/anime`, `first run`, `nothing changed`."""
    if not lock.is_file():
        return "first run"
    stages = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))["stages"]
    found = [*source_changes(stages), *param_changes(stages, read_document(params)), *code_changes(stages)]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more if found else "nothing changed"


def param_changes(stages: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys whose values differ from those of the last run, as `section.key old → new`."""
    changes: dict[str, None] = {}
    for stage in stages.values():
        for section, before in stage.get("params", {}).get(paths.PARAMS.name, {}).items():
            changes |= dict.fromkeys(_differences(section, before, now.get(section)))
    return list(changes)


def _differences(path: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        return [line for name in names for line in _differences(f"{path}.{name}", before.get(name), now.get(name))]
    if before == now:
        return []
    short = not isinstance(before, (list, dict)) and not isinstance(now, (list, dict))
    return [f"{path} {before} → {now}" if short else path]


def source_changes(stages: dict[str, Any]) -> list[str]:
    """Sources with more, fewer or other files than at the last run, judged by number and size."""
    changes = []
    for dep in stages.get("ingest", {}).get("deps", []):
        path, before = Path(dep["path"]), dep.get("nfiles")
        if not path.is_dir() or before is None:
            continue
        files = [file for file in path.rglob("*") if file.is_file()]
        if len(files) != before:
            difference = len(files) - before
            changes.append(f"{abs(difference)} {'more' if difference > 0 else 'fewer'} files in {path}")
        elif sum(file.stat().st_size for file in files) != dep["size"]:
            changes.append(f"other files in {path}")
    return changes


def code_changes(stages: dict[str, Any]) -> list[str]:
    """Stages whose library files are not those of the last run, as `code of train`."""
    return [f"code of {name}" for name, stage in stages.items() if any(_changed(dep) for dep in stage.get("deps", []))]


def _changed(dep: dict[str, Any]) -> bool:
    path = Path(dep["path"])
    if not dep["path"].startswith("anime_lora/"):
        return False
    return not path.is_file() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != dep["md5"]

"""Why a run has something to do, in a few words: what differs between `dvc.lock` and the folder as it is now."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from anime_lora.config import paths
from anime_lora.config.load import read_document

LOCK = Path("dvc.lock")
SHOWN = 2
"""So many changes are named; the rest is counted."""


def why(lock: Path = LOCK, params: Path = paths.PARAMS) -> str:
    """Such as `train.rank 16 → 8`, `3 more files in data/samples/anime`, `first run`, `nothing changed`."""
    if not lock.is_file():
        return "first run"
    stages = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))["stages"]
    found = [*data_changes(stages), *param_changes(stages, read_document(params)), *code_changes(stages)]
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


def data_changes(stages: dict[str, Any], but: str = "") -> list[str]:
    """Files that no stage makes and that are others than at the last run; folders are judged by number and size.

    Args:
        stages: what dvc.lock says of each.
        but: a stage whose own are left out.
    """
    made = [out["path"] for stage in stages.values() for out in stage.get("outs", [])]
    deps = [dep for name, stage in stages.items() if name != but for dep in stage.get("deps", []) if not _is_code(dep)]
    data = [dep for dep in deps if not any(Path(dep["path"]).is_relative_to(out) for out in made)]
    folders = [_folder_change(dep) for dep in data if "nfiles" in dep]
    files = [f"other {dep['path']}" for dep in data if "md5" in dep and "nfiles" not in dep and _differs(dep)]
    return [*filter(None, folders), *files]


def _folder_change(dep: dict[str, Any]) -> str:
    path = Path(dep["path"])
    files = [file for file in path.rglob("*") if file.is_file()]
    difference = len(files) - dep["nfiles"]
    if difference:
        return f"{abs(difference)} {'more' if difference > 0 else 'fewer'} files in {path}"
    return f"other files in {path}" if sum(file.stat().st_size for file in files) != dep["size"] else ""


def code_changes(stages: dict[str, Any]) -> list[str]:
    """Stages whose library files are not those of the last run, as `code of train`."""
    return [
        f"code of {name}"
        for name, stage in stages.items()
        if any(_is_code(dep) and _differs(dep) for dep in stage.get("deps", []))
    ]


def _is_code(dep: dict[str, Any]) -> bool:
    return bool(dep["path"].startswith("anime_lora/"))


def _differs(dep: dict[str, Any]) -> bool:
    path = Path(dep["path"])
    if "nfiles" in dep:
        return bool(folder_hash(path) != dep["md5"])
    return not path.is_file() or _md5(path.read_bytes()) != dep["md5"]


def folder_hash(folder: Path) -> str:
    """DVC's hash of a folder of code, as version 3.67 makes it: of its files' names and hashes, sorted by name."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    rows = [
        {"md5": _md5(file.read_bytes()), "relpath": name}
        for name, file in sorted(files.items())
        if "__pycache__" not in file.parts and file.suffix != ".pyc"  # .dvcignore
    ]
    return _md5(json.dumps(rows, sort_keys=True).encode()) + ".dir"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

"""What the stage door says of each stage: its module and the params sections it reads."""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGES = ("ingest", "validate", "resize", "organize", "train", "validate-sample", "evaluate")
UNWATCHED = {"compute", "retrain"}
"""Sections that say how this machine works and when it trains anew; never DVC params."""


@dataclass(frozen=True)
class Door:
    """One stage command as its source text has it."""

    stage: str
    module: str
    sections: tuple[str, ...]


def doors() -> list[Door]:
    """The stage commands of `cli/stages.py`, in its order."""
    tree = ast.parse((ROOT / "anime_lora" / "cli" / "stages.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    named = [(function.name.replace("_", "-"), function) for function in functions]
    return [_door(stage, function) for stage, function in named if stage in STAGES]


def _door(stage: str, function: ast.FunctionDef) -> Door:
    modules = [node.module for node in ast.walk(function) if isinstance(node, ast.ImportFrom) and node.module]
    read = [
        node.attr.rstrip("_")
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    ]
    return Door(stage, modules[0], tuple(dict.fromkeys(read)))

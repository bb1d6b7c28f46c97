"""Who may import whom: `flows → tasks → anime_lora`, and inside it only towards what comes before."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.doors import ROOT

HALL = {"errors", "files", "folder_swap", "progress", "executors", "images", "image_colours", "image_formats", "config"}
MAY = {
    "config": {"errors", "files"},
    "data": HALL,
    "diffusion": HALL,
    "lora": HALL | {"diffusion"},
    "training": HALL | {"diffusion", "lora"},
    "sampling": HALL | {"diffusion", "lora"},
    "generation": HALL | {"data", "diffusion", "lora", "sampling"},
    "evaluation": HALL | {"data", "diffusion", "sampling"},
    "cli": HALL | {"data", "diffusion", "lora", "training", "sampling", "generation", "evaluation"},
}
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "prefect", "dvc")


def imports(file: Path) -> set[str]:
    """Dotted names that `file` imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    allowed = MAY[room] | {room, "__version__"}
    for file in (ROOT / "anime_lora" / room).rglob("*.py"):
        inside = {name.split(".")[1] for name in imports(file) if name.startswith("anime_lora.")}
        assert inside <= allowed, f"{file.name} imports {inside - allowed}"


def test_the_hall_imports_no_room() -> None:
    for file in (ROOT / "anime_lora").glob("*.py"):
        inside = {name.split(".")[1] for name in imports(file) if name.startswith("anime_lora.")}
        assert file.stem not in HALL or inside <= HALL, f"{file.name} imports {inside - HALL}"


def test_the_pocket_base_knows_little_of_the_library() -> None:
    for file in (ROOT / "pocket").rglob("*.py"):
        inside = {name.split(".")[1] for name in imports(file) if name.startswith("anime_lora.")}
        assert inside <= {"config", "errors", "files", "progress"}, file


def test_every_room_has_a_rule() -> None:
    rooms = {folder.name for folder in (ROOT / "anime_lora").iterdir() if (folder / "__init__.py").is_file()}
    assert rooms == set(MAY)


def test_the_library_knows_neither_prefect_nor_dvc_nor_its_callers() -> None:
    for file in (ROOT / "anime_lora").rglob("*.py"):
        first = {name.split(".")[0] for name in imports(file)}
        assert not first & {"prefect", "dvc", "flows", "tasks", "tests", "pocket"}, file


def test_tasks_do_not_know_the_flows() -> None:
    for file in (ROOT / "tasks").rglob("*.py"):
        assert not [name for name in imports(file) if name.startswith("flows")], file


@pytest.mark.parametrize("module", [
    "anime_lora.cli", "anime_lora.data.ingest", "anime_lora.data.validate", "anime_lora.data.resize",
    "anime_lora.data.organize", "anime_lora.config.load", "anime_lora.config.presets", "anime_lora.generation.generate",
])  # fmt: skip
def test_no_weight_behind_the_door_and_the_data_stages(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_a_night_that_is_skipped_loads_no_model_library() -> None:
    """The flows only look and start processes: torch alone is three seconds."""
    code = f"import sys, flows.retrain; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["prefect"]

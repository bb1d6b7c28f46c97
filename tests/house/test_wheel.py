"""What `pip install anime-lora` brings: the library, all of it, and what it imports; nothing of the orchestration."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.doors import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = {"distributed": "dask", "pillow_heif": "heif"}
"""Modules that the library imports only where a setting asks for them, and the extra that brings them."""


def third_party(package: str) -> set[str]:
    """First names of all that the files of a package import from outside the project and Python itself."""
    names: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    names.discard("pydantic_core")  # a part of pydantic, which requires one exact version of it
    return names - {"anime_lora", "tasks", "flows", "pocket", "benchmarks"} - sys.stdlib_module_names


def distributions(modules: set[str]) -> set[str]:
    """The packages that bring `modules`, as the index spells them."""
    known = packages_distributions()
    return {normal(min(known[module], key=len)) for module in modules}  # ruamel: of ruamel.yaml and ruamel.yaml.clib


def normal(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirements: list[str]) -> set[str]:
    """The names in a list of requirements, without versions and extras."""
    return {normal(re.split(r"[<>=!;\[ ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def test_the_library_requires_exactly_what_it_imports() -> None:
    """`bitsandbytes` and others that only a setting needs are among it; Dask and HEIC come with extras."""
    assert set(OPTIONAL) <= third_party("anime_lora")
    assert required(PROJECT["dependencies"]) == distributions(third_party("anime_lora") - set(OPTIONAL))


def test_what_the_runs_import_beside_it_comes_with_the_extra() -> None:
    extra = required(PROJECT["optional-dependencies"]["flows"])
    needed = distributions(third_party("flows") | third_party("tasks")) - required(PROJECT["dependencies"])
    assert needed <= extra
    assert extra - needed == {"fastapi", "sqlalchemy"}, "pinned for Prefect, not imported here"


def test_the_pocket_base_needs_two_packages_more() -> None:
    needed = distributions(third_party("pocket")) - required(PROJECT["dependencies"])
    assert needed == required(PROJECT["optional-dependencies"]["pocket"])


def test_every_required_package_is_pinned_to_a_version() -> None:
    pinned = required((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:])
    extras = PROJECT["optional-dependencies"]
    needed = required(
        [*PROJECT["dependencies"], *(name for key in ("flows", "dask", "s3", "dev") for name in extras[key])]
    )
    assert needed - {"anime-lora"} <= pinned


@pytest.mark.slow
def test_the_wheel_holds_the_library_only_all_of_it_and_it_runs(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "anime_lora"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    archive = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == set(tracked.stdout.split())
    assert "anime_lora/py.typed" in packed
    archive.extractall(tmp_path / "site")
    modules = [
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in packed if name[-3:] == ".py"
    ]
    imports = "; ".join(f"import {module}" for module in sorted(modules) if not module.endswith("__main__"))
    absent = "import sys; assert not {'pocket', 'flows', 'tasks', 'dvc', 'prefect'} & set(sys.modules)"
    check = f"{imports}; print(anime_lora.__file__); {absent}"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    ran = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == str(tmp_path / "site" / "anime_lora" / "__init__.py")

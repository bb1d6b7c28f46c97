"""What README.md names exists."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.house.doors import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = (
    "data/ingest",
    "data/validate",
    "data/resize",
    "data/organize",
    "data/train",
    "data/validate-sample",
    "data/evaluate",
)
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.S))
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = sorted({part.strip() for line in [*LINES, *SPANS] for part in line.split("&&") if part.strip()})


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_to_a_file(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "span", sorted({s for s in SPANS if re.fullmatch(r"[\w.-]+(/[\w.-]*)+|[\w-]+\.(yaml|toml|md)", s)})
)
def test_every_path_exists_or_is_made_by_a_stage(span: str) -> None:
    outside = span.startswith("models/")
    assert outside or span.startswith(MADE) or (ROOT / span).exists()


def test_every_make_target_exists() -> None:
    named = {c.split()[1] for c in COMMANDS if c.startswith("make ")}
    assert {"run", "test", "ui"} <= named <= targets()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python -m ")])
def test_every_python_command_is_known(command: str) -> None:
    module, *words = command.split()[2:]
    application = {
        "anime_lora": "anime_lora.cli",
        "flows": "flows.cli",
        "pocket": "pocket.__main__",
    }.get(module)
    if application is None:
        assert (ROOT / module.replace(".", "/")).exists() or (ROOT / (module.replace(".", "/") + ".py")).exists()
        return
    app = __import__(application, fromlist=["app"]).app
    names = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    assert not words or words[0] in names | {"STAGE"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("dvc ")])
def test_every_dvc_command_is_known(command: str) -> None:
    from dvc.cli.parser import get_main_parser

    assert get_main_parser().parse_args(command.split()[1:])


def test_the_tools_named_come_with_the_installation() -> None:
    assert shutil.which("dvc", path=str(Path(sys.executable).parent))

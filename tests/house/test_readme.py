"""What the documents name exists: files, links, commands with their options, make targets, settings."""

import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import typer

from anime_lora.config import paths
from anime_lora.config.load import read_document
from tests.house.doors import ROOT, STAGES

DOCUMENTS = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")),
]  # fmt: skip
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
MADE = (
    *(f"data/{stage}" for stage in STAGES),
    *("data/models.json", "models/", ".cache/", ".prefect/", ".venv/", ".dvc/", "dvc.lock", "dist/"),
)
"""What a run or an installation makes, and no clone has at first."""
FOREIGN = ("lllyasviel/", "stable-diffusion-v1-5/", "openai/", "facebook/", "examples/dreambooth/", "nvidia.com/")
"""Names at the hub, in diffusers and in Kubernetes."""
APPS = {"anime_lora": "anime_lora.cli", "flows": "flows.cli", "pocket": "pocket.__main__"}


def spans(text: str) -> list[str]:
    """What stands in single backticks, outside blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def command_lines(text: str) -> list[str]:
    """Every command in blocks of shell code and in backticks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return sorted({part.strip() for line in [*lines, *spans(text)] for part in line.split("&&") if part.strip()})


COMMANDS = sorted({(name, line) for name, text in TEXTS.items() for line in command_lines(text)})


def named(*beginnings: str) -> list[tuple[str, str]]:
    """Commands that begin so, with the document that names them."""
    return [(name, line) for name, line in COMMANDS if line.removeprefix(".venv/bin/").startswith(beginnings)]


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    for link in re.findall(r"\]\(([^):]+)\)", TEXTS[name]):
        file, _, heading = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M) if heading else []
        assert not heading or heading in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_exists_or_is_made_by_a_run(name: str) -> None:
    names = {span for span in spans(TEXTS[name]) if re.fullmatch(r"[\w.-]+(/[\w.-]*)+|[\w-]+\.(yaml|toml|md)", span)}
    for path in names - {"README.md"}:
        there = [(ROOT / place / path).exists() for place in ("", "anime_lora", "pocket", "data/train")]
        assert any(there) or path.startswith((*MADE, *FOREIGN)) or _beside(path), f"{name} names {path}"


def _beside(path: str) -> bool:
    """Whether a short name such as `metrics/` is a folder of a room, or one that a stage writes into its own."""
    patterns = (pattern for written in paths.WRITES.values() for pattern in written)
    rooms = (place for package in ("anime_lora", "flows", "pocket", "tests") for place in (ROOT / package).rglob(path))
    return path.endswith("/") and (any(rooms) or any(pattern.startswith(path) for pattern in patterns))


def test_every_make_target_exists_and_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.M)[0].split())
    assert phony == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.M))
    wanted = {line.split()[1] for _, line in named("make ")}
    assert {"run", "test", "ui", "help"} <= {word for word in wanted if "=" not in word} <= phony


@pytest.mark.parametrize(("name", "line"), named("anime-lora ", "python -m "))
def test_every_command_of_ours_is_known_with_its_options(name: str, line: str) -> None:
    words = line.removeprefix(".venv/bin/").split()
    module, arguments = ("anime_lora", words[1:]) if words[0] == "anime-lora" else (words[2], words[3:])
    if module not in APPS:
        known = (ROOT / module.replace(".", "/")).exists() or (ROOT / f"{module.replace('.', '/')}.py").exists()
        assert known or module in {"dvc", "prefect", "pip", "pytest"}, f"{name}: {line}"
        return
    group = typer.main.get_command(import_module(APPS[module]).app)
    command = arguments[0] if arguments else ""
    if command in {"", "…"} or command.isupper():
        return
    assert isinstance(group, click.Group | typer.core.TyperGroup)
    context = group if command.startswith("-") else group.commands.get(command)
    assert context is not None, f"{name}: {line}"
    options = {option for parameter in context.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-zA-Z]", word)}
    assert used <= options | {"--help", "-h"}, f"{name}: {line}"


@pytest.mark.parametrize(("name", "line"), named("dvc "))
def test_every_dvc_command_is_known(name: str, line: str) -> None:
    """As written, or with the values that prose leaves out, as in `dvc exp run -S`."""
    from dvc.cli.parser import DvcParserError, get_main_parser

    errors = []
    for more in ([], ["a"], ["a", "b", "c"]):
        try:
            get_main_parser().parse_args([*line.split()[1:], *more])
        except DvcParserError as error:
            errors.append(error)
    assert len(errors) < 3, f"{name}: {line}"


@pytest.mark.parametrize("name", TEXTS)
def test_every_setting_named_is_one(name: str) -> None:
    document = read_document(ROOT / "params.yaml")
    sections = "|".join(document)
    for section, key in re.findall(rf"`({sections})\.([a-z_]+)\b", TEXTS[name]):
        assert key in document[section] or key in {"yaml", "md", "py", "json"}, f"{name}: {section}.{key}"


def test_the_tools_named_come_with_the_installation() -> None:
    for tool in ("dvc", "anime-lora", "gto", "prefect"):
        assert shutil.which(tool, path=str(Path(sys.executable).parent)), tool

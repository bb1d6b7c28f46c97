"""The help of every command is a page to learn from."""

import re
from collections.abc import Mapping

import click
import pytest
import typer
from typer.testing import CliRunner

from anime_lora import cli as library
from flows import cli as runs

APPS = {"anime-lora": library.app, "python -m flows": runs.app}


def commands(program: str) -> Mapping[str, click.Command]:
    """Every command by its name."""
    group = typer.main.get_command(APPS[program])
    assert isinstance(group, click.Group | typer.core.TyperGroup)
    return group.commands


ALL = [(program, name) for program in APPS for name in commands(program)]


@pytest.mark.parametrize(("program", "name"), ALL)
def test_the_help_of_a_command_is_more_than_a_line_and_ends_with_its_own_examples(program: str, name: str) -> None:
    page = CliRunner().invoke(APPS[program], [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert page.exit_code == 0, page.output
    command = commands(program)[name]
    assert command.help
    assert command.epilog
    assert len(command.help.split("\n\n")) > 1, "a first line, then what it reads, writes or needs"
    examples = re.findall(r"^- `([^`]+)`: \S", command.epilog, re.M)
    assert any(example.startswith(f"{program} {name}") for example in examples)
    assert examples[0] in page.output


@pytest.mark.parametrize(("program", "name"), ALL)
def test_examples_call_commands_and_options_that_exist(program: str, name: str) -> None:
    for example in re.findall(r"`([^`]+)`:", str(commands(program)[name].epilog)):
        for called in (part.strip() for part in example.split("&&")):
            if called.startswith(program):
                word, *rest = called.removeprefix(program).split()
                options = {option for parameter in commands(program)[word].params for option in parameter.opts}
                assert {each for each in rest if each.startswith("-")} <= options, called

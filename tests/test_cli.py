"""The `anime-lora` command: pages of help, completion, expected errors as one message."""

import re

import click
import pytest
import typer
from typer.testing import CliRunner

from anime_lora.cli import app, guarded
from anime_lora.errors import EXIT_CODE, AnimeLoraError, ParamsError

GROUP = typer.main.get_command(app)
assert isinstance(GROUP, click.Group | typer.core.TyperGroup)
COMMANDS = GROUP.commands


def test_the_first_page_names_every_command_under_a_heading() -> None:
    page = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    assert all(re.search(rf"^│ {name} ", page, re.M) for name in COMMANDS), page
    assert {command.rich_help_panel for command in COMMANDS.values()}.isdisjoint({None, ""})


def test_the_shell_can_complete_commands() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    shell = {"_ANIME_LORA_COMPLETE": "complete_bash", "COMP_WORDS": "anime-lora pre", "COMP_CWORD": "1"}
    completed = CliRunner().invoke(app, [], prog_name="anime-lora", env=shell)
    assert completed.output.split() == ["preset"]


def test_an_expected_error_is_one_message_and_another_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(error: Exception) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        guarded(lambda: fails(ParamsError("train.rank = 0: too small")))
    assert ended.value.code == EXIT_CODE
    assert capsys.readouterr().err == "error: train.rank = 0: too small\n"
    assert issubclass(ParamsError, AnimeLoraError)
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: fails(ZeroDivisionError()))

"""Commands, options and settings: each explains itself, and stands in the docs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from desireline.cli.app import app
from desireline.settings import describe

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
QUESTIONS = ("funnel", "conversion", "drop-offs", "pain-points", "customer", "alerts", "map", "summary")


def commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Every command that people are shown, with its words."""
    for name, command in group.commands.items():
        if not command.hidden:
            if hasattr(command, "commands"):
                yield from commands(command, *before, name)
            else:
                yield " ".join((*before, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_each_of_its_options_say_what_they_do(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_in_the_docs(name: str) -> None:
    assert f"desireline {name}" in DOCS


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_can_be_answered_in_every_format_and_from_a_data_folder(name: str) -> None:
    options = {flag for option in COMMANDS[name].params for flag in option.opts}
    assert {"--format", "--data"} <= options
    if name not in ("customer", "summary"):
        assert {"--from", "--to"} <= options


@pytest.mark.parametrize("line", describe(), ids=lambda line: line.variable)
def test_a_setting_is_in_the_docs_with_its_meaning(line: Any) -> None:
    assert line.variable in DOCS
    assert line.meaning in DOCS

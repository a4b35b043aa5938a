"""Commands, options and settings: each explains itself, and stands in the docs."""

from pathlib import Path

import pytest

from desireline.reference import commands, reference

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands())
QUESTIONS = (
    "funnel", "conversion", "drop-offs", "pain-points", "customer", "alerts", "map", "summary",
    "identity show", "identity report", "identity decisions", "cohort list", "cohort show", "cohort members",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_each_of_its_options_say_what_they_do(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []


def test_the_reference_says_what_the_program_does() -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == reference(), "run `make reference`"


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_can_be_answered_in_every_format_and_from_a_data_folder(name: str) -> None:
    options = {flag for option in COMMANDS[name].params for flag in option.opts}
    assert {"--format", "--data"} <= options
    if name not in ("customer", "summary") and not name.startswith(("identity", "cohort")):
        assert {"--from", "--to"} <= options

"""The reference of commands and settings, made from the program.

python -m desireline.reference > docs/reference.md
"""

from collections.abc import Iterator
from typing import Any

from desireline.settings import CONFIG_VARIABLE, describe


def reference() -> str:
    """The page, as Markdown."""
    return "\n".join(_page())


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that people are shown: its words, and what Typer made of it."""
    import typer

    from desireline.cli.app import app

    yield from _commands(typer.main.get_command(app))


def _commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from _commands(command, *before, name)
        elif not command.hidden:
            yield " ".join((*before, name)), command


def _page() -> Iterator[str]:
    yield "# Reference: commands and settings"
    yield ""
    yield "Made from the program by `make reference`; `desireline COMMAND --help` says the same."
    yield ""
    yield "Exit codes: 0 done, 1 failed, 2 usage, 3 a check did not hold (`reconcile`)."
    yield ""
    yield "## Commands"
    for name, command in commands():
        yield ""
        yield f"### `desireline {name}`"
        yield ""
        yield command.help
        rows = [_option(option) for option in command.params if option.name != "help"]
        if rows:
            yield ""
            yield "| | default | |"
            yield "|---|---|---|"
            yield from rows
    yield ""
    yield "## Settings"
    yield ""
    yield "An option of a command goes before the variable, the variable before the TOML file that"
    yield f"`--config` or `{CONFIG_VARIABLE}` names, the file before the default. In the file a setting is"
    yield "called by its variable's name in small letters without `DESIRELINE_`. All are checked at start."
    yield ""
    yield "| variable | default | allowed | what it is |"
    yield "|---|---|---|---|"
    for line in describe():
        default = f"`{line.default}`" if line.default else ""
        yield f"| `{line.variable}` | {default} | {line.allowed} | {line.meaning} |"
    yield ""


def _option(option: Any) -> str:
    if option.param_type_name == "argument":
        name = option.name.upper() + ("…" if option.nargs == -1 else "")
    else:
        name = ", ".join(option.opts)
    default = getattr(option.default, "value", option.default)
    shown = "" if default is None or default is False or callable(default) else f"`{default}`"
    meaning = (option.help or "").replace("|", "\\|")
    return f"| `{name}` | {shown} | {meaning} |"


if __name__ == "__main__":
    print(reference(), end="")

"""Every analysis as a command: its arguments and options are the parameters of the analysis.

The analyses are imported when one is asked for, or when help lists them: they bring pandas and SQLAlchemy.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from typer.core import TyperGroup

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, settings
from desireline.render import Format, show_answer

PANEL = "Questions"
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write into this file: .csv, .parquet or .json.", dir_okay=False),
]
_EVERY = {"format": (Formatted, Format.table), "output": (Output, None), "data": (Data, None)}


class WithQuestions(TyperGroup):
    """The commands of the program, and one for each analysis in the catalogue."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the questions first."""
        from warehouse.catalogue import names

        return [*names(), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; that of an analysis is made now."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        from warehouse.catalogue import names

        return command_of(cmd_name) if cmd_name in names() else None


def command_of(name: str) -> Any:
    """The command that asks the analysis of this name."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    alone.command(name, rich_help_panel=PANEL, context_settings={"help_option_names": ["-h", "--help"]})(
        _function(name)
    )
    return typer.main.get_command(alone)


def _function(name: str) -> Callable[..., None]:
    from warehouse.catalogue import named
    from warehouse.parameters import arguments, parameters

    asked = named(name)
    known = parameters(asked)

    def ask(**given: Any) -> None:
        every = {key: given.pop(key) for key in _EVERY}
        said = {one.written: given[one.name] for one in known if given[one.name] not in (None, [])}
        ready = arguments(asked, said)
        with asking(settings(), every["data"]) as connection:
            show_answer(
                asked(connection, **ready), every["format"], hidden=asked.hidden, output=every["output"]
            )

    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_annotation(one),
            default=inspect.Parameter.empty if one.required else _default(one.default),
        )
        for one in known
    ]
    options += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _EVERY.items()
    ]
    ask.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    ask.__annotations__ = {one.name: one.annotation for one in options}
    ask.__doc__ = (asked.__doc__ or "").splitlines()[0]
    return ask


def _annotation(one: Any) -> Any:
    # Typer takes no list of choices: what is given is checked by the analysis's own parameters
    kind: Any = Literal[one.choices] if one.choices and not one.several else one.plain_type
    instant = one.name in ("since", "until")
    if instant:
        kind = str
    if one.several:
        kind = list[kind]
    if not one.required and one.default is None:
        kind = Optional[kind]  # noqa: UP045  made at run time
    if one.leading:
        return Annotated[kind, typer.Argument(help=one.meaning)]
    flag = f"--{one.written.replace('_', '-')}"
    if one.plain_type is bool:
        flag = f"{flag}/--no-{flag[2:]}" if one.default else flag
    more: dict[str, Any] = {"metavar": "TIME"} if instant else {}
    return Annotated[kind, typer.Option(flag, help=one.meaning, **more)]


def _default(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

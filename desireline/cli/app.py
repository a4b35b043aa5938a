"""`desireline`: the commands, and what becomes of an error."""

import sys
from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from desireline import children
from desireline.cli import (
    cohort,
    feeding,
    identity,
    model,
    operations,
    rebuild,
    rejected,
    roles,
    saved,
    summary,
    topics,
    up,
)
from desireline.cli import warehouse as tables
from desireline.cli.options import command_line
from desireline.cli.questions import WithQuestions
from desireline.errors import CheckFailed
from models.errors import DesirelineError

app = typer.Typer(
    name="desireline",
    cls=WithQuestions,
    help="Customer journeys across web, chat, voice and billing, stitched as they happen.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (up, summary, saved, feeding, operations, rebuild, roles):
    module.add_to(app)
app.add_typer(topics.app, name="topics")
app.add_typer(tables.app, name="warehouse")
app.add_typer(rejected.app, name="rejected")
app.add_typer(identity.app, name="identity")
app.add_typer(cohort.app, name="cohort")
app.add_typer(model.app, name="model")


@app.callback()
def root(
    config: Annotated[str | None, typer.Option(help="TOML file of settings; also DESIRELINE_CONFIG.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True, help="End when this process ends.")] = None,
) -> None:
    """Customer journeys across web, chat, voice and billing, stitched as they happen."""
    if parent is not None:
        children.end_with(parent)
    command_line.config = config


@app.command()
def version() -> None:
    """The version of desireline."""
    typer.echo(version_of("desireline"))


def run(arguments: Sequence[str]) -> int:
    """Run a command line. 0: done, 1: failed, 2: usage, 3: the check did not hold."""
    try:
        app(list(arguments), standalone_mode=True)
    except CheckFailed as error:
        print(f"desireline: {error}", file=sys.stderr)
        return 3
    except DesirelineError as error:
        print(f"desireline: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `desireline … | head`
        sys.stderr.close()
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0

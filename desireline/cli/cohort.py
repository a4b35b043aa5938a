"""Cohorts: saved definitions of who belongs together, by which every question can be narrowed."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, settings
from desireline.render import Format, console, records, show, show_record

app = typer.Typer(help="Saved cohorts, by which every question can be narrowed.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the cohort.")]
Author = Annotated[str | None, typer.Option(help="Who says so; else the user of this machine.")]


@app.command()
def save(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(
            help="YAML or JSON, e.g. `{did: purchase, at_least: 2}`; `-`: what comes in.", allow_dash=True
        ),
    ],
    author: Author = None,
    data: Data = None,
) -> None:
    """Save a definition under a name, in place of what stood there."""
    from warehouse import cohorts
    from warehouse.cohort_file import load, read

    definition = read(sys.stdin.read(), where="standard input") if str(file) == "-" else load(file)
    with asking(settings(), data, writing=True) as connection:
        cohorts.save(connection, name, definition, author=author or getpass.getuser())
        console().print(f"{name} is saved: {cohorts.size(connection, name):,} customers now")


@app.command("list")
def list_cohorts(data: Data = None, format: Formatted = Format.table) -> None:
    """All saved cohorts."""
    from warehouse import cohorts

    with asking(settings(), data) as connection:
        show(cohorts.cohorts(connection), format)


@app.command("show")
def show_cohort(name: Name, data: Data = None, format: Formatted = Format.table) -> None:
    """One cohort: its definition, who saved it and when, and how many belong to it now."""
    from warehouse import cohorts

    with asking(settings(), data) as connection:
        show_record(records(cohorts.described(connection, name))[0], format)


@app.command()
def delete(name: Name, author: Author = None, data: Data = None) -> None:
    """Delete a cohort; its customers stay as they are."""
    from warehouse import cohorts

    with asking(settings(), data, writing=True) as connection:
        cohorts.delete(connection, name, author=author or getpass.getuser())
    console().print(f"{name} is deleted")


@app.command()
def members(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1_000,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Who belongs to a cohort now."""
    from warehouse import cohorts

    with asking(settings(), data) as connection:
        show(cohorts.members(connection, name, most=limit), format)

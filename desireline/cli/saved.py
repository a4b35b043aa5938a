"""Questions that are saved as files, and rows that are written into files."""

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from desireline.asking import asking, reading_url, said_clearly
from desireline.cli.options import Data, Formatted, Since, Until, settings
from desireline.cli.questions import PANEL, Output
from desireline.render import Format, OutputError, console, show_answer

_BAR = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())


def add_to(app: typer.Typer) -> None:
    """Both commands."""
    for command in (ask, export):
        app.command(rich_help_panel=PANEL)(command)


def ask(
    file: Annotated[Path, typer.Argument(help="YAML: `analysis:` and its arguments.", dir_okay=False)],
    data: Data = None,
    format: Formatted = Format.table,
    output: Output = None,
) -> None:
    """Ask a question that is saved as a file."""
    from warehouse.saved_query import load

    query = load(file)
    with asking(settings(), data) as connection:
        if query.title and format is Format.table and output is None:
            console().print(query.title, style="bold")
        show_answer(query.ask(connection), format, hidden=query.analysis.hidden, output=output)


def export(
    view: Annotated[str, typer.Argument(help="What rows: touchpoints, journeys, attempts, drop_offs, …")],
    file: Annotated[Path, typer.Argument(help="Where to: .csv, .parquet or .jsonl.", dir_okay=False)],
    since: Since = None,
    until: Until = None,
    data: Data = None,
) -> None:
    """Write the rows of a view into a file, as the engine reads them."""
    from warehouse.connection import client
    from warehouse.export import form_of, pieces

    form = form_of(file)
    with reading_url(settings(), data) as url, said_clearly(url), client(url) as connected:
        coming = pieces(connected, view, form, since=since, until=until)
        begun = next(coming, b"")  # a question that cannot be asked leaves no file behind
        try:
            with (
                file.open("wb") as to,
                Progress(
                    TextColumn("{task.description}"),
                    DownloadColumn(),
                    TransferSpeedColumn(),
                    console=console(sys.stderr),
                ) as bar,
            ):
                written = bar.add_task(f"writing {file.name}", total=None)
                for piece in chain((begun,), coming):
                    to.write(piece)
                    bar.advance(written, len(piece))
        except OSError as error:
            raise OutputError(str(error.strerror), where=str(file), remedy="Choose another place.") from error

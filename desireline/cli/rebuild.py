"""`desireline rebuild`: what stands said again, or judged under another journey model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desireline.cli.options import Data, Formatted, settings
from desireline.render import Format, console, show

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def add_to(app: typer.Typer) -> None:
    """`rebuild`."""
    app.command(rich_help_panel="Looking after it")(rebuild)


def rebuild(
    customer: Annotated[
        list[str] | None,
        typer.Option(help="Only this customer's household, by any identifier; may be given several times."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="YAML file: judge all that was ever loaded under it."),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Which journey models there are, and do nothing.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Drop the tables of the model before; alone or with --model.")
    ] = False,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Say again what stands, from what was loaded; with --model, under another journey model, which it makes current.

    Live traffic goes on all the while, and questions are answered from what stood until all is there. Ended on
    the way, the same command goes on from there.
    """
    from desireline import rebuild as rebuilding
    from desireline.asking import asking, said_clearly

    read = settings()
    if status:
        from warehouse import status as tables

        with asking(read, data) as connection:
            show(tables.journey_models(connection), format)
        return
    if model and customer:
        raise typer.BadParameter("a journey model applies to all customers; leave out one of the two")
    place = rebuilding.where(read, data)
    with said_clearly(place.warehouse_url), _shown() as progress:
        if model:
            done = rebuilding.change_model(place, model.read_text(), progress, file=str(model))
        elif not drop_old or customer:
            done = rebuilding.put_back(place, customer or [], progress)
        else:
            done = None
        dropped = drop_old and rebuilding.drop_old(place)
    if done:
        of = f" with {done.elements:,} elements" if done.elements else ""
        print(f"{done.households:,} households{of} in {done.seconds:.1f} s")
    if drop_old:
        print("the tables of the model before were dropped" if dropped else "there were no tables to drop")


class _Shown:
    """A progress bar on the terminal."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def begin(self, what: str, households: int | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=households)

    def advance(self, households: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, households)

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence)


@contextmanager
def _shown() -> Iterator[_Shown]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(sys.stderr),
    ) as bar:
        yield _Shown(bar)

"""The questions: each command parses, asks, shows. What they mean stands with the analyses in `warehouse`."""

from typing import Annotated

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, Since, Until, settings
from desireline.render import Format, records, show, show_record


def add_to(app: typer.Typer) -> None:
    """Every question is a command of its own."""
    for command in (funnel, summary):
        app.command(command.__name__, rich_help_panel="Questions")(command)


def funnel(
    steps: Annotated[
        list[str], typer.Argument(help="Steps, e.g. `add_to_cart[channel=web]` or `@Purchase`.")
    ],
    order: Annotated[
        str,
        typer.Option(
            help="`ordered`: others may lie between the steps; `strict`: none may; `any`: in any order."
        ),
    ] = "ordered",
    within: Annotated[str, typer.Option(help="Time from the first step to the last, e.g. 30m, 7d.")] = "7d",
    by: Annotated[str | None, typer.Option(help="Split by this field, e.g. channel.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Who does this between the steps is left out.")
    ] = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """How many reach each step, in order, within a window."""
    from warehouse import funnels

    with asking(settings(), data) as connection:
        answer = funnels.funnel(
            connection,
            steps,
            order=order,
            within=within,
            by=by,
            since=since,
            until=until,
            exclude=exclude or (),
        )
        show(answer, format)


def summary(data: Data = None, format: Formatted = Format.table) -> None:
    """What the warehouse holds: touchpoints, journeys, customers, and those merged across channels."""
    from warehouse import summary as counts

    with asking(settings(), data) as connection:
        show_record(records(counts.summary(connection))[0], format)

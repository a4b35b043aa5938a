"""The questions: each command parses, asks, shows. What they mean stands with the analyses in `warehouse`."""

from typing import Annotated

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, Since, Until, settings
from desireline.current_model import model_of
from desireline.render import Format, as_json, records, show, show_record


def add_to(app: typer.Typer) -> None:
    """Every question is a command of its own."""
    for command in (funnel, customer, journey_map, summary):
        name = {"journey_map": "map"}.get(command.__name__, command.__name__.replace("_", "-"))
        app.command(name, rich_help_panel="Questions")(command)


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


def customer(
    identifier: Annotated[
        str, typer.Argument(help="Any identifier: `user_id:42`, `email:a@b.org`, or its value.")
    ],
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """One customer's whole story, whichever of their identifiers is given."""
    from warehouse import customers

    with asking(settings(), data) as connection:
        story = customers.customer(connection, identifier)
        goes_by = customers.identifiers(connection, identifier)["identifier"]
        title = f"{goes_by[0]}, also {', '.join(goes_by[1:])}" if len(goes_by) > 1 else goes_by[0]
        show(story, format, title=title, hidden=("phase_move", "journey_id", "customer_id", "id"))


def journey_map(
    since: Since = None,
    until: Until = None,
    persona: Annotated[str | None, typer.Option(help="Only journeys of this persona.")] = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Phases with their touchpoints, emotion, pain points and drop-offs."""
    from warehouse import journey_map as maps

    with asking(settings(), data) as connection:
        drawn = maps.journey_map(
            connection, model_of(connection, settings()), since=since, until=until, persona=persona
        )
        parts = ("phases", "touchpoints", "pain_points", "delights", "totals", "open_alerts")
        if format is Format.json:
            print(as_json({part: records(getattr(drawn, part)) for part in parts}), end="")
            return
        if format is Format.csv:
            show(drawn.touchpoints, format)
            return
        counts = drawn.phases.astype({"drop_offs": int, "recoveries": int})
        show(counts, format, title="phases")
        show(
            drawn.touchpoints.drop(columns=["emotion_p10", "emotion_p90", "place"]),
            format,
            title="touchpoints",
        )
        show(drawn.pain_points.head(10), format, title="what hurts most")


def summary(data: Data = None, format: Formatted = Format.table) -> None:
    """What the warehouse holds: touchpoints, journeys, customers, and those merged across channels."""
    from warehouse import summary as counts

    with asking(settings(), data) as connection:
        show_record(records(counts.summary(connection))[0], format)

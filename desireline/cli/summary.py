"""What the warehouse holds. The analyses are commands of their own, see `desireline.cli.questions`."""

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, settings
from desireline.cli.questions import PANEL
from desireline.render import Format, records, show_record


def add_to(app: typer.Typer) -> None:
    """The command."""
    app.command(rich_help_panel=PANEL)(summary)


def summary(data: Data = None, format: Formatted = Format.table) -> None:
    """What the warehouse holds: touchpoints, journeys, customers, and those merged across channels."""
    from warehouse import summary as counts

    with asking(settings(), data) as connection:
        show_record(records(counts.summary(connection))[0], format)

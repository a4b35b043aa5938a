"""What was refused, and why."""

from typing import Annotated

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, Since, Until, settings
from desireline.render import Format, records, show, show_record
from models.errors import DesirelineError

app = typer.Typer(help="Touchpoints that were refused, with the reason.", no_args_is_help=True)


@app.command("list")
def list_rejected(
    reason: Annotated[str | None, typer.Option(help="Only those of this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 50,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """What was refused, the latest first."""
    from ingest.rejection import REASONS
    from warehouse import rejected
    from warehouse.columns import CONFLICTING_DUPLICATE

    known = (*REASONS, CONFLICTING_DUPLICATE)
    if reason is not None and reason not in known:
        raise DesirelineError(
            f'reason "{reason}" is not known', remedy=f"The reasons are {', '.join(known)}."
        )
    with asking(settings(), data) as connection:
        show(
            rejected.rejected(connection, reason=reason, limit=limit, since=since, until=until),
            format,
            hidden=("source",),
        )


@app.command("show")
def show_rejected(
    id: Annotated[str, typer.Argument(help="As `rejected list` shows it.")],
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """One refusal whole, with what was sent."""
    from warehouse import rejected

    with asking(settings(), data) as connection:
        found = rejected.rejection(connection, id)
    if not len(found):
        raise DesirelineError(
            f'nothing was rejected under the id "{id}"', remedy="`desireline rejected list` lists."
        )
    show_record(records(found)[0], format)

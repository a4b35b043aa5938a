"""Looking after identities: who is who, why, how good the stitching is, and people's decisions about it."""

import getpass
from pathlib import Path
from sys import stderr
from typing import TYPE_CHECKING, Annotated

import typer

from desireline.asking import asking
from desireline.cli.options import Data, Formatted, settings
from desireline.current_model import configured_model
from desireline.render import Format, as_json, console, records, show, show_record

if TYPE_CHECKING:
    import pandas as pd

    from desireline.correcting import Corrected, Relation

app = typer.Typer(help="Who is who, and decisions about it.", no_args_is_help=True)

One = Annotated[str, typer.Argument(help="An identifier: `user_id:42`, `email:a@b.org`, or its value.")]
Other = Annotated[str, typer.Argument(help="The other identifier.")]
Author = Annotated[str | None, typer.Option(help="Who decides it; else the user of this machine.")]
Why = Annotated[str | None, typer.Option(help="Why, for whoever asks later.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the warehouse shows the effect.")]
Collector = Annotated[str | None, typer.Option(help="URL of the collector; else that of a running `up`.")]
WriteKey = Annotated[
    str | None, typer.Option(help="One that may correct identities; else the first such that is set.")
]

_WAIT_S = 15.0
_SHOWN = 50
_PARTS = {
    "links": "links by kinds of identifier",
    "conflicts": "refused links by reason",
    "households": "households by number of identifiers",
    "largest": "the largest households",
    "kinds": "identifiers by source and kind",
    "shared": "suspicious: many others hang on it",
    "nameless": "placeholders, and what named nobody",
}
_DECIDED = {
    "same": "{} and {} are one customer",
    "not_same": "{} and {} are not one customer",
    "undone": "what was decided of {} and {} is undone",
}


@app.command("show")
def show_identity(id: One, data: Data = None, format: Formatted = Format.table) -> None:
    """The customer and household behind an identifier: what joined them, what was refused, what was decided."""
    from warehouse import identities
    from warehouse.identities import parts

    read = settings()
    with asking(read, data) as connection:
        found = identities.identity(connection, id, model=configured_model(read))
    if format is Format.json:
        print(as_json(parts(found)), end="")
    elif format is Format.csv:
        show(found.identifiers, format)
    else:
        show_record(records(found.summary)[0], format)
        show(found.identifiers.head(_SHOWN), format, title="goes by", hidden=("kind", "first_linked_at"))
        if (more := len(found.identifiers) - _SHOWN) > 0:
            console().print(f"and {more:,} more of the household; --format json lists all\n")
        show(found.conflicts.head(_SHOWN), format, title="refused links", hidden=("customer_a", "customer_b"))
        show(found.decisions, format, title="decisions that hold", hidden=("holds", "id"))


@app.command()
def report(data: Data = None, format: Formatted = Format.table) -> None:
    """How good the stitching is: who is identified, what joined whom, what was refused, what looks wrong."""
    from warehouse import identity_report as reports
    from warehouse.identities import parts

    read = settings()
    with asking(read, data) as connection:
        found = reports.identity_report(connection, model=configured_model(read))
    if format is Format.json:
        print(as_json(parts(found)), end="")
    elif format is Format.csv:
        show(found.totals, format)
    else:
        show_record(records(found.totals)[0], format, title="stitching")
        for name, title in _PARTS.items():
            show(getattr(found, name), format, title=title)


@app.command()
def decisions(
    all: Annotated[bool, typer.Option("--all", help="Also those that hold no more.")] = False,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """What people decided about identities: merges and splits, by whom, when and why."""
    from warehouse import identities

    with asking(settings(), data) as connection:
        show(identities.decisions(connection, all=all), format, hidden=() if all else ("holds",))


@app.command()
def merge(
    a: One,
    b: Other,
    author: Author = None,
    reason: Why = None,
    wait: Wait = _WAIT_S,
    collector: Collector = None,
    write_key: WriteKey = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Decide that two identifiers are one customer, even two logins."""
    _decide("same", a, b, author, reason, wait, collector, write_key, data, format)


@app.command()
def split(
    a: One,
    b: Other,
    author: Author = None,
    reason: Why = None,
    wait: Wait = _WAIT_S,
    collector: Collector = None,
    write_key: WriteKey = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Decide that two identifiers are not one customer: links that would make them one are refused."""
    _decide("not_same", a, b, author, reason, wait, collector, write_key, data, format)


@app.command()
def undo(
    a: Annotated[str, typer.Argument(help="An identifier of the decision, or the id of the decision.")],
    b: Annotated[str | None, typer.Argument(help="The other identifier; none with an id.")] = None,
    author: Author = None,
    reason: Why = None,
    wait: Wait = _WAIT_S,
    collector: Collector = None,
    write_key: WriteKey = None,
    data: Data = None,
    format: Formatted = Format.table,
) -> None:
    """Take back what was decided about two identifiers: links alone say again who they are."""
    _decide("undone", a, b, author, reason, wait, collector, write_key, data, format)


def _decide(
    relation: "Relation", a: str, b: str | None, author: str | None, reason: str | None, wait: float,
    collector: str | None, write_key: str | None, data: Path | None, format: Format,
) -> None:  # fmt: skip
    from desireline import correcting

    read = settings()
    door = correcting.door(read, data, collector, write_key)
    author = author or getpass.getuser()
    with asking(read, data) as connection:
        pair = correcting.pair_of(connection, relation, a, b, configured_model(read))
        with console(stderr).status("waiting for the effect"):
            done = correcting.correct(
                connection, door, relation, pair, author=author, reason=reason, wait_s=wait
            )
    if format is Format.table:
        console().print(f"{_DECIDED[relation].format(*pair)}, says {author}. Decision {done.id}")
        console().print(_sentence(done))
    changes = _changes(done)
    if format is Format.json:
        said = {"id": done.id, "relation": relation, "identifiers": pair, "effect": done.effect}
        print(as_json({**said, "before": records(done.before), "after": records(done.after)}), end="")
    else:
        show(changes, format)


def _sentence(done: "Corrected") -> str:
    if done.effect == "refused":
        return "It was refused: another decision keeps them apart, see the refused links of `identity show`."
    if done.effect == "on its way":
        return f"It is accepted and on its way; `{done.see}` shows its effect."
    before, after = len(done.before), len(done.after)
    same = list(done.before["customer_id"]) == list(done.after["customer_id"])
    if same and list(done.before["identifiers"]) == list(done.after["identifiers"]):
        return "Nothing changes now: the customers are as they were. The decision holds from here on."
    return f"{before} customer{'s' * (before > 1)} before, {after} now."


def _changes(done: "Corrected") -> "pd.DataFrame":
    import pandas as pd

    before, after = (pd.DataFrame(frame) for frame in (done.before, done.after))
    before.insert(0, "when", "before")
    after.insert(0, "when", "now")
    return pd.concat([before, after], ignore_index=True)

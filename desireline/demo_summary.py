"""What the demo shows at its end: what became of what was sent, by the analyses that everyone uses."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from desireline.demo_proof import Finding
from desireline.render import duration
from desireline.running import Urls
from ingest.simulation.sender import Sent
from models.errors import DesirelineError

if TYPE_CHECKING:
    from sqlalchemy import Engine

FUNNEL = ("product_view", "add_to_cart", "checkout_started", "purchase")
WITHIN = "7d"
_BAR = 36


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as people read it; `resolved_at` is None while it is open."""

    id: str
    kind: str
    channel: str
    message: str
    opened_at: Any
    resolved_at: Any


class NothingToShow(DesirelineError):
    """An answer that must not be empty is."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo knows and the warehouse does not: calls sent, durations in s, where the parts answer."""

    finding: Finding
    alert: Alert
    calls: int
    touchpoints: int
    loaded_s: float
    took_s: float
    urls: Urls
    write_key: str


def touchpoints(connection: "Engine") -> int:
    """How many different touchpoints the warehouse has."""
    from sqlalchemy import func, select

    from warehouse.schema import touchpoint_rows

    with connection.connect() as asking:
        return int(asking.execute(select(func.uniqExact(touchpoint_rows.c.id))).scalar_one())


def alerts(connection: "Engine") -> list[Alert]:
    """All alerts, the newest first."""
    from warehouse import alerts as analysis

    rows = _rows(analysis.alerts(connection))
    found = [
        Alert(
            id=row["id"],
            kind=row["kind"],
            channel=row["channel"],
            message=row["message"],
            opened_at=row["opened_at"],
            resolved_at=row["resolved_at"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda alert: str(alert.opened_at), reverse=True)


def show(console: Console, connection: "Engine", facts: Facts) -> None:
    """Print the summary. NothingToShow names an answer that is empty."""
    console.print()
    console.rule("[bold]what desireline made of it[/]", align="left")
    for part in (
        _totals(connection, facts),
        _proof(facts.finding),
        _funnel(connection),
        _conversion(connection),
        _losses(connection),
        Panel(Text(facts.alert.message), title="[bold red]alert[/]", title_align="left", border_style="red"),
        _where(facts),
    ):
        console.print()
        console.print(part)
    console.print()


def alert_line(alert: Alert) -> str:
    """One line about an alert that opened or resolved."""
    return f"[red]alert[/] {alert.message}" if alert.resolved_at is None else f"[green]{alert.message}[/]"


def live_line(connection: "Engine", sent: Sent) -> str:
    """What is going on now, in one line."""
    opened = sum(alert.resolved_at is None for alert in alerts(connection))
    sent_live = sent.calls + sent.stripe_events
    return (
        f"live · {touchpoints(connection):,} touchpoints · {sent_live:,} calls sent live · "
        f"{opened} {'alert' if opened == 1 else 'alerts'} open · Ctrl-C ends it"
    )


def _totals(connection: "Engine", facts: Facts) -> RenderableType:
    from warehouse import summary

    [row] = _rows(summary.summary(connection))
    text = Text()
    for number, words in (
        (row["touchpoints"], "touchpoints became "),
        (row["journeys"], "journeys of "),
        (row["customers"], "customers; "),
        (row["merged_customers"], "of them are one person on several channels"),
    ):
        text.append(f"{number:,} ", style="bold").append(words)
    text.append(
        f"\n{facts.touchpoints:,} touchpoints were in the warehouse {facts.loaded_s:.1f} s after the first"
    )
    text.append(
        f" was sent ({facts.touchpoints / facts.loaded_s:,.0f} per second), and none was lost", style=""
    )
    return text


def _proof(finding: Finding) -> RenderableType:
    text = Text()
    text.append("One customer, three channels. ", style="bold")
    text.append("Nobody told us at first that these are the same person:\n")
    for channel, said, key in _SAID:
        names = [name for name in finding.owners if name.startswith(key)]
        text.append(f"  {channel:<8}", style="cyan").append(f"{said:<28}").append(
            ", ".join(names) + "\n", style="dim"
        )
    text.append("  → one customer, one journey ", style="bold green")
    text.append(f"of {len(finding.touchpoints)} touchpoints")
    return text


_SAID = (
    ("web", "a visitor fills the cart", "anonymous_id:"),
    ("voice", "someone calls about a lamp", "phone:"),
    ("billing", "a card pays for it", "customer_id:"),
)


def _funnel(connection: "Engine") -> RenderableType:
    from warehouse import funnels

    rows = _rows(funnels.funnel(connection, list(FUNNEL), within=WITHIN))
    if not rows or not rows[-1]["count"]:
        raise NothingToShow("the funnel is empty")
    table = _grid("Funnel", f"customers, in this order within {WITHIN}")
    table.add_column("step")
    table.add_column("", width=_BAR)
    table.add_column("reached", justify="right")
    table.add_column("of the step before", justify="right")
    table.add_column("median", justify="right")
    most = rows[0]["count"]
    for row in rows:
        table.add_row(
            str(row["name"]),
            Text("█" * max(1, round(_BAR * row["count"] / most)), style="blue"),
            f"{row['count']:,}",
            _rate(row["rate_from_previous"]),
            _seconds(row.get("median_s")),
        )
    return table


def _conversion(connection: "Engine") -> RenderableType:
    from warehouse import conversion

    rows = _rows(conversion.conversion(connection, by="campaign"))
    return _plain(rows, "Conversion from phase to phase", "by campaign", 8)


def _losses(connection: "Engine") -> RenderableType:
    from warehouse import drop_offs, pain_points

    left = _plain(_rows(drop_offs.drop_offs(connection)), "Where journeys stop", "", 5)
    right = _plain(_rows(pain_points.pain_points(connection)), "What hurts", "", 5)
    return Columns([left, right], padding=(0, 4))


def _where(facts: Facts) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, url in (
        ("page", facts.urls.pages),
        ("collector", f"{facts.urls.collector}  write key {facts.write_key}"),
        ("warehouse", facts.urls.warehouse_reader),
    ):
        table.add_row(Text(name, style="bold"), Text(url))
    return Group(table, Text(f"\nthe demo took {duration(facts.took_s)}", style="dim"))


def _plain(rows: list[dict[str, Any]], title: str, subtitle: str, most: int) -> Table:
    from desireline.render import cell

    table = _grid(title, subtitle)
    for name in rows[0] if rows else ():
        table.add_column(name.replace("_", " "))
    for row in rows[:most]:
        table.add_row(*(cell(name, value) for name, value in row.items()))
    return table


def _grid(title: str, subtitle: str) -> Table:
    shown = Text(title, style="bold").append(f"  {subtitle}", style="not bold dim")
    return Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")


def _rows(answer: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in _records(answer)]


def _records(answer: Any) -> Iterator[Mapping[str, Any]]:
    from desireline.render import records

    yield from records(answer)


def _rate(value: Any) -> str:
    return "–" if value is None else f"{value:.0%}"


def _seconds(value: Any) -> str:
    return "–" if value is None else duration(value)

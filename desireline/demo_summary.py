"""What the demo shows at its end: what became of what was sent, by the analyses that everyone uses."""

from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from desireline.demo_proof import Finding
from desireline.render import duration, records
from desireline.running import Urls
from ingest.simulation.sender import Sent
from models.errors import DesirelineError

if TYPE_CHECKING:
    from sqlalchemy import Engine

FUNNEL = ("product_view", "add_to_cart", "checkout_started", "purchase")
WITHIN = "7d"
_BAR = 32
_BESIDE_BAR = 68  # what the other columns of the funnel take
_MOST = 5  # rows of a table


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
    """what the demo knows and the warehouse does not: durations in s, where the parts answer."""

    finding: Finding
    alert: Alert
    touchpoints: int
    balance: str  # what `desireline reconcile` says
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

    rows = records(analysis.alerts(connection))
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
        _funnel(connection, bar_width=max(6, min(_BAR, console.width - _BESIDE_BAR))),
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

    [row] = records(summary.summary(connection))
    text = Text()
    for number, words in (
        (row["touchpoints"], " touchpoints stitched into "),
        (row["journeys"], " journeys of "),
        (row["customers"], " customers;\n"),
        (row["merged_customers"], " customers were merged across channels.\n"),
    ):
        text.append(f"{number:,}", style="bold").append(words)
    per_second = facts.touchpoints / facts.loaded_s
    text.append(
        f"History: {facts.touchpoints:,} touchpoints sent, stitched and loaded in {duration(facts.loaded_s)} "
        f"({per_second:,.0f} per second), none lost.\n{facts.balance}",
        style="dim",
    )
    return text


_SAID = (
    ("web", "a visitor fills the cart", "anonymous_id:"),
    ("voice", "somebody calls", "phone:"),
    ("billing", "somebody pays by card", "customer_id:"),
)


def _proof(finding: Finding) -> RenderableType:
    text = Text("One customer on three channels, under three names that share nothing\n", style="bold")
    for channel, said, kind in _SAID:
        names = ", ".join(name for name in finding.owners if name.startswith(kind))
        text.append(f"  {channel:<9}", style="cyan").append(f"{said:<26}", style="not bold")
        text.append(f"{names}\n", style="not bold dim")
    text.append("  ✓ one customer, one journey", style="green")
    text.append(f" of {len(finding.touchpoints)} touchpoints", style="not bold")
    return text


def _funnel(connection: "Engine", *, bar_width: int) -> RenderableType:
    from warehouse import funnels

    rows = records(funnels.funnel(connection, list(FUNNEL), within=WITHIN))
    if not rows or not rows[-1]["count"]:
        raise NothingToShow("the funnel is empty")
    table = _table(
        "Funnel", f"customers in this order within {WITHIN}; shares are of those whose {WITHIN} are over"
    )
    table.add_column("step", no_wrap=True)
    table.add_column("", width=bar_width)
    for name in ("customers", "of those before", "after (median)"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["name"]),
            _bar(row["count"], rows[0]["count"], bar_width, "blue"),
            f"{row['count']:,}",
            "" if row["step"] == 1 else _rate(row["rate_from_previous"]),
            "" if row["median_s"] is None else duration(row["median_s"]),
        )
    return table


def _conversion(connection: "Engine") -> RenderableType:
    from models.journey_model import default_model
    from warehouse import conversion

    rows = records(conversion.conversion(connection, by="campaign"))
    if not rows:
        raise NothingToShow("there is no conversion between phases")
    phases = list(default_model().phases)[:-1]  # nothing lies beyond the last one
    by_campaign: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_campaign.setdefault(row["campaign"], {})[row["phase"]] = row
    table = _table("Conversion", "journeys that went on from a phase to a further one")
    table.add_column("campaign", no_wrap=True)
    for phase in phases:
        table.add_column(f"{phase} →", justify="right", no_wrap=True)
    for campaign, found in list(by_campaign.items())[:_MOST]:
        table.add_row(campaign, *(_went_on(found.get(phase)) for phase in phases))
    return table


def _went_on(row: dict[str, Any] | None) -> Text:
    if row is None or row["forward_rate"] is None:
        return Text("–", style="dim")
    return Text(f"{row['forward_rate']:.0%}").append(f" of {row['entered'] - row['open']:,}", style="dim")


def _losses(connection: "Engine") -> RenderableType:
    from warehouse import drop_offs, pain_points

    stops = records(drop_offs.drop_offs(connection))[:_MOST]
    pains = records(pain_points.pain_points(connection))[:_MOST]
    if not stops or not pains:
        raise NothingToShow("there are no drop-offs" if not stops else "there are no pain points")
    left = _table("Top drop-offs", "where journeys fall silent")
    left.add_column("phase, after", no_wrap=True)
    left.add_column("journeys", justify="right", no_wrap=True)
    left.add_column("", min_width=6, no_wrap=True)
    for row in stops:
        place = Text(row["phase"]).append(f", {row['type']}", style="dim")
        left.add_row(
            place, f"{row['drop_offs']:,}", _bar(row["drop_offs"], stops[0]["drop_offs"], 6, "yellow")
        )
    right = _table("Top pain points", "by how much they hurt")
    right.add_column("kind, phase (channel)", no_wrap=True)
    right.add_column("times", justify="right", no_wrap=True)
    right.add_column("", min_width=6, no_wrap=True)
    for row in pains:
        place = Text(row["kind"]).append(f", {row['phase']} ({row['channel']})", style="dim")
        right.add_row(place, f"{row['pain_points']:,}", _bar(row["hurt"], pains[0]["hurt"], 6, "red"))
    return Columns((left, right), padding=(0, 3))  # one below the other where both do not fit


def _where(facts: Facts) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, url in (
        ("page", facts.urls.pages),
        ("collector", f"{facts.urls.collector}   write key {facts.write_key}"),
        ("warehouse", f"{facts.urls.warehouse_reader}   ClickHouse's HTTP interface, read-only"),
    ):
        table.add_row(Text(name, style="bold"), Text(url))
    return Group(table, Text(f"\nafter {duration(facts.took_s)}", style="dim"))


def _bar(size: float, most: float, width: int, style: str) -> Text:
    return Text("█" * max(1, round(width * size / most)), style=style) if size else Text()


def _table(title: str, subtitle: str) -> Table:
    shown = Text(title, style="bold").append(f"  {subtitle}", style="not bold dim")
    return Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"

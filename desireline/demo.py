"""The demo: feeds a pipeline that is up, shows what it makes of it, and goes on with live traffic.

What is sent comes from three senders: the real Segment client as its own process, Stripe's documented events,
and the simulator, which first tells the last weeks and then what happens now: the call centre's queue jams.
"""

import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from desireline import demo_proof, demo_summary
from desireline.demo_senders import (
    DemoFailed,
    LiveTraffic,
    RealClient,
    client_calls,
    door,
    expected,
    send_stripe,
)
from desireline.demo_stripe import story
from desireline.running import Running
from ingest.simulator import SimulationConfig, past_traffic, simulate
from models.errors import DesirelineError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from desireline.balance import Balance

HISTORY_CUSTOMERS = 2_200
LOADING_PATIENCE_S = 90.0
ALERT_PATIENCE_S = 110.0
_REJECTED_SAYS = "`desireline rejected list` says why."
_WORKER_SAYS = "The worker's log says why."


class Context(msgspec.Struct, frozen=True):
    """A pipeline that is up, and where to show what it does."""

    running: Running
    console: Console


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent before the summary: the touchpoints that it became, and how long that took, s."""

    touchpoints: int
    loaded_s: float


def run_demo(context: Context, *, once: bool) -> int:
    """Feed, show, and stay with live traffic until Ctrl-C; with `once` return after the summary.

    0, or 1 after saying which part did not work.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from warehouse import connect

    connection = connect(context.running.urls.warehouse_reader)
    live = LiveTraffic(context.running)
    try:
        _demonstrate(context, connection, live, once=once)
        if not once:
            _stay(context.console, connection, live)
    except (DesirelineError, SQLAlchemyError) as error:
        said = str(error)
        if isinstance(error, SQLAlchemyError):
            said = f"the warehouse does not answer: {said.splitlines()[0]}"
        context.console.print("\n[bold red]the demo failed:[/]", escape(said), soft_wrap=True)
        return 1
    finally:
        live.stop()
        connection.dispose()
    return 0


def _demonstrate(context: Context, connection: "Engine", live: LiveTraffic, *, once: bool) -> None:
    begun = time.monotonic()
    now = time.time_ns() // 1_000_000
    proof = demo_proof.case(f"demo{now:x}", now)
    with _progress(context.console) as progress:
        fed, balance = _feed(context, connection, proof, progress, now)
        known = {alert.id for alert in demo_summary.alerts(connection)}
        live.start()
        alert = _await_alert(connection, live, progress, known)
        finding = _await_proof(connection, proof)
    if once:
        live.stop()
        live.check()
        balance = _check_nothing_lost(context, connection)
    facts = demo_summary.Facts(
        finding=finding,
        alert=alert,
        touchpoints=fed.touchpoints,
        balance=balance.sentence,
        loaded_s=fed.loaded_s,
        took_s=time.monotonic() - begun,
        urls=context.running.urls,
        write_key=context.running.write_key,
    )
    try:
        demo_summary.show(context.console, connection, facts)
    except demo_summary.NothingToShow as error:
        raise DemoFailed(str(error), remedy=_WORKER_SAYS) from error


def _feed(
    context: Context, connection: "Engine", proof: demo_proof.Proof, progress: Progress, now: int
) -> "tuple[Fed, Balance]":
    """All three senders, the first beside the others, until the warehouse has what they sent."""
    running, begun = context.running, time.monotonic()
    calls = client_calls(now) + proof.happened + proof.links
    events = [*story(now), proof.payment]
    traffic = past_traffic(HISTORY_CUSTOMERS, now=now)
    total, touchpoints = expected(traffic)
    told = progress.add_task("the Segment client, a process of its own", total=len(calls))
    stripe = progress.add_task("Stripe's events, signed", total=len(events))
    history = progress.add_task("six weeks of simulated customers", total=total)
    stitched = progress.add_task("touchpoints in the warehouse", total=len(calls) + len(events) + touchpoints)
    with (
        RealClient(running, calls) as client,
        _watching(connection, lambda count: progress.update(stitched, completed=count)),
    ):
        send_stripe(running, events, lambda: progress.advance(stripe))
        sent = simulate(
            SimulationConfig(traffic=traffic, door=door(running)),
            lambda sent: progress.update(history, completed=sent.calls + sent.stripe_events),
        )
        if sent.rejected:
            raise DemoFailed(f"{sent.rejected:,} simulated calls were rejected", remedy=_REJECTED_SAYS)
        progress.update(told, completed=sum(client.result().values()))
        _await_loaded(connection, touchpoints)
        balance = _check_nothing_lost(context, connection, patience_s=LOADING_PATIENCE_S)
    loaded_s = time.monotonic() - begun
    found = demo_summary.touchpoints(connection)
    progress.update(stitched, completed=found, total=found)
    return Fed(touchpoints=found, loaded_s=loaded_s), balance


@contextmanager
def _watching(connection: "Engine", tell: Callable[[int], None]) -> Iterator[None]:
    """Meanwhile ask twice a second how many touchpoints the warehouse has, and tell it."""
    from sqlalchemy.exc import SQLAlchemyError

    stopping = threading.Event()

    def watch() -> None:
        while not stopping.wait(0.5):
            with suppress(SQLAlchemyError):  # whoever feeds will say it
                tell(demo_summary.touchpoints(connection))

    watcher = threading.Thread(target=watch, name="watching the warehouse", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        watcher.join()


def _await_loaded(connection: "Engine", touchpoints: int) -> None:
    """Until nearly all are in the warehouse: asking for each one while it loads would only slow it down."""
    deadline = time.monotonic() + LOADING_PATIENCE_S
    while demo_summary.touchpoints(connection) < 0.99 * touchpoints and time.monotonic() < deadline:
        time.sleep(0.3)


def _check_nothing_lost(context: Context, connection: "Engine", *, patience_s: float = 30.0) -> "Balance":
    from desireline.reconcile import reconcile
    from desireline.running import DataFolder

    spool = DataFolder(Path(context.running.data_dir)).spool
    result = reconcile(connection, spool, patience_s=patience_s)
    if not result.holds:
        raise DemoFailed(
            f"not all that was accepted is in the warehouse after {patience_s:.0f} s: {result.sentence}",
            remedy=_WORKER_SAYS,
        )
    return result


def _await_proof(connection: "Engine", proof: demo_proof.Proof) -> demo_proof.Finding:
    deadline = time.monotonic() + 20
    while not (finding := demo_proof.find(connection, proof)).holds:
        if time.monotonic() > deadline:
            found = f"{len(finding.customers)} customers, {len(finding.journeys)} journeys"
            raise DemoFailed(
                f"the cross-channel proof does not hold: {found}, missing {finding.missing}",
                remedy="It must be one customer and one journey.",
            )
        time.sleep(0.3)
    return finding


def _await_alert(
    connection: "Engine", live: LiveTraffic, progress: Progress, known: Set[str]
) -> demo_summary.Alert:
    """The alert about the jam, none of those `known` before. DemoFailed if there is none in time."""
    task = progress.add_task("live: the call centre's queue jams", total=None)
    deadline = time.monotonic() + ALERT_PATIENCE_S
    while True:
        found = [
            alert
            for alert in demo_summary.alerts(connection)
            if alert.kind == "call" and alert.id not in known
        ]
        if found:
            progress.update(
                task, total=1, completed=1, description="live: the call centre's queue jams: alert"
            )
            return found[0]
        live.check()
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"no alert within {ALERT_PATIENCE_S:.0f} s of the call centre's queue jam",
                remedy=_WORKER_SAYS,
            )
        time.sleep(0.5)


def _stay(console: Console, connection: "Engine", live: LiveTraffic) -> None:
    """One line that says what is going on, until Ctrl-C; alerts that open or resolve are told above it."""
    told = {alert.id: alert.resolved_at is None for alert in demo_summary.alerts(connection)}
    with console.status("live") as status:
        while True:
            live.check()
            status.update(demo_summary.live_line(connection, live.sent))
            for alert in demo_summary.alerts(connection):
                open_now = alert.resolved_at is None
                if told.get(alert.id) != open_now:
                    told[alert.id] = open_now
                    console.print(demo_summary.alert_line(alert))
            time.sleep(2)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )

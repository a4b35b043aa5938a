"""The demo: feeds a pipeline that is up, shows what it makes of it, and goes on with live traffic.

What is sent comes from three senders: the real Segment client as its own process, Stripe's documented events,
and the simulator, which first tells the last weeks and then what happens now: the call centre's queue jams.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
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
    client_calls,
    door,
    expected,
    run_client,
    send_stripe,
)
from desireline.demo_stripe import story
from desireline.running import Running
from ingest.simulation.sender import Sent
from ingest.simulator import SimulationConfig, past_traffic, simulate
from models.errors import DesirelineError

if TYPE_CHECKING:
    from sqlalchemy import Engine

HISTORY_CUSTOMERS = 2_500
LOADING_PATIENCE_S = 90.0
ALERT_PATIENCE_S = 110.0
_WORKER_SAYS = "The worker's log says why."


class Context(msgspec.Struct, frozen=True):
    """A pipeline that is up, and where to show what it does."""

    running: Running
    console: Console


class Fed(msgspec.Struct):
    """What was sent before the summary, and how long it took to be in the warehouse, s."""

    by_client: dict[str, int] = {}
    by_stripe: int = 0
    history: Sent = msgspec.field(default_factory=Sent)
    loaded_s: float = 0.0
    touchpoints: int = 0


def run_demo(context: Context, *, once: bool) -> int:
    """Feed, show, and stay with live traffic until Ctrl-C; with `once` return after the summary.

    0, or 1 after saying which part did not work.
    """
    from warehouse import connect

    console = context.console
    connection = connect(context.running.urls.warehouse_reader)
    live = LiveTraffic(context.running)
    try:
        _demonstrate(context, connection, live, once=once)
        if not once:
            _stay(console, connection, live)
    except DesirelineError as error:
        console.print(f"\n[bold red]the demo failed:[/] {error}", soft_wrap=True)
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
        fed = _feed(context, connection, proof, progress, now)
        live.start()
        alert = _await_alert(connection, live, progress)
        finding = _await_proof(connection, proof)
    if once:
        live.stop()
        _check_nothing_lost(context, connection)
    demo_summary.show(
        context.console,
        connection,
        demo_summary.Facts(
            finding=finding,
            alert=alert,
            sent=fed.history.calls + fed.history.stripe_events + sum(fed.by_client.values()) + fed.by_stripe,
            touchpoints=fed.touchpoints,
            loaded_s=fed.loaded_s,
            took_s=time.monotonic() - begun,
            urls=context.running.urls,
            write_key=context.running.write_key,
        ),
    )


def _feed(
    context: Context, connection: "Engine", proof: demo_proof.Proof, progress: Progress, now: int
) -> Fed:
    """All three senders at once, until the warehouse has what they sent."""
    fed, begun = Fed(), time.monotonic()
    client = progress.add_task("segment-analytics-python, a process of its own", total=None)
    stripe = progress.add_task("Stripe's events, signed, by webhook", total=None)
    history = progress.add_task("six weeks of simulated customers", total=None)
    stitched = progress.add_task("stitched into journeys", total=None)

    calls = client_calls(now) + proof.happened + proof.links
    told = ThreadPoolExecutor(1, "client").submit(run_client, context.running, calls)
    progress.update(client, total=len(calls))

    events = [*story(now), proof.payment]
    progress.update(stripe, total=len(events))
    fed.by_stripe = send_stripe(context.running, events, lambda: progress.advance(stripe))

    traffic = past_traffic(HISTORY_CUSTOMERS, now=now)
    total, about = expected(traffic)
    progress.update(history, total=total)
    with _watching(connection, lambda count: progress.update(stitched, completed=count)) as watched:
        about += len(calls) + len(events)
        progress.update(stitched, total=about)
        fed.history = simulate(
            SimulationConfig(traffic=traffic, door=door(context.running)),
            lambda sent: progress.update(history, completed=sent.calls + sent.stripe_events),
        )
        fed.by_client = told.result()
        progress.update(client, completed=sum(fed.by_client.values()))
        _check_nothing_lost(context, connection, patience_s=LOADING_PATIENCE_S)
        fed.loaded_s = time.monotonic() - begun
        fed.touchpoints = watched()
        progress.update(stitched, completed=fed.touchpoints, total=fed.touchpoints)
    return fed


@contextmanager
def _watching(connection: "Engine", told: Callable[[int], None]) -> Iterator[Callable[[], int]]:
    """Ask twice a second how many touchpoints the warehouse has, and tell it; gives what asks once more."""
    stopping = threading.Event()

    def watch() -> None:
        while not stopping.wait(0.5):
            told(demo_summary.touchpoints(connection))

    watcher = threading.Thread(target=watch, name="watching the warehouse", daemon=True)
    watcher.start()
    try:
        yield lambda: demo_summary.touchpoints(connection)
    finally:
        stopping.set()
        watcher.join()


def _check_nothing_lost(context: Context, connection: "Engine", *, patience_s: float = 30.0) -> None:
    from desireline.reconcile import reconcile
    from desireline.running import DataFolder

    spool = DataFolder(Path(context.running.data_dir)).spool
    result = reconcile(connection, spool, patience_s=patience_s)
    if not result.holds:
        raise DemoFailed(
            f"not all that was accepted is in the warehouse after {patience_s:.0f} s: {result.sentence}",
            remedy=_WORKER_SAYS,
        )


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


def _await_alert(connection: "Engine", live: LiveTraffic, progress: Progress) -> demo_summary.Alert:
    """The alert about the jam. DemoFailed if there is none in time."""
    task = progress.add_task("live: the call centre's queue jams", total=None)
    deadline = time.monotonic() + ALERT_PATIENCE_S
    while True:
        found = [alert for alert in demo_summary.alerts(connection) if alert.kind == "call"]
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

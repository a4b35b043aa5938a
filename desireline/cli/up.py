"""`desireline up`: everything on this machine."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from desireline.cli.options import settings
from desireline.logs import log_to_file
from desireline.render import console

if TYPE_CHECKING:
    from desireline.supervisor import Supervisor

DEMO_FOLDER = ".demo"


def add_to(app: typer.Typer) -> None:
    """`up`."""
    app.command(rich_help_panel="Running")(up)


def up(
    data: Annotated[Path | None, typer.Option(help="Data folder; kept from one run to the next.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Pages and query API; 0: any.")] = None,
    collector_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Collector; 0: any.")] = None,
    warehouse_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Warehouse; 0: any.")] = None,
    broker_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Broker; 0: any.")] = None,
    worker_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Worker's health; 0: any.")
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help=f"Feed it simulated customers, in `{DEMO_FOLDER}`, which starts empty."),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End when all is ready; with --demo, after its summary.")
    ] = False,
) -> None:
    """Run everything on this machine: broker, warehouse, collector, worker, pages. Ctrl-C ends it."""
    from desireline.supervisor import Supervisor

    read = settings(
        data_dir=str(data) if data else DEMO_FOLDER if demo else None,
        dashboards_port=port,
        collector_port=collector_port,
        warehouse_port=warehouse_port,
        broker_port=broker_port,
        worker_port=worker_port,
    )
    screen = console()
    code = 0
    for what in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(what, _interrupt)
    supervisor = Supervisor(read, say=lambda sentence: screen.print(sentence), empty=demo and data is None)
    try:
        with supervisor:
            log_to_file(supervisor.folder.logs / "up.log", read.log_level)
            code = _feed(supervisor, screen, once=once) if demo else 0
            if not demo:
                _say_where(supervisor, screen)
            while not once and not code:
                time.sleep(0.5)
    except KeyboardInterrupt:
        screen.print("ended; nothing is left running")
    if code:
        raise typer.Exit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # from here on all ends; a second Ctrl-C would leave processes behind
    for what in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(what, signal.SIG_IGN)
    raise KeyboardInterrupt


def _feed(supervisor: "Supervisor", screen: Console, *, once: bool) -> int:
    from desireline.demo import Context, run_demo

    return run_demo(Context(running=supervisor.running, console=screen), once=once)


def _say_where(supervisor: "Supervisor", screen: Console) -> None:
    urls = supervisor.running.urls
    screen.print()
    for name, url in (
        ("pages", urls.pages),
        ("collector", f"{urls.collector}   write key {supervisor.running.write_key}"),
        ("warehouse", urls.warehouse_reader),
        ("broker", urls.broker),
        ("data", supervisor.running.data_dir),
    ):
        screen.print(f"  {name:<10} {url}", soft_wrap=True)
    screen.print("\nCtrl-C ends it.")

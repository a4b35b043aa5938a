"""What brings touchpoints in beside the collector's own senders: files, and simulated traffic."""

import time
from pathlib import Path
from sys import stderr
from typing import TYPE_CHECKING, Annotated

import typer

from desireline.cli.options import Data, settings
from desireline.errors import UpError
from desireline.render import console
from desireline.running import DataFolder

if TYPE_CHECKING:
    from ingest.simulation.sender import Door


def add_to(app: typer.Typer) -> None:
    """`load` and `simulate`."""
    app.command(rich_help_panel="Touchpoints")(load)
    app.command(rich_help_panel="Touchpoints")(simulate)


def simulate(
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Live: calls per second, until Ctrl-C.")
    ] = None,
    customers: Annotated[
        int | None,
        typer.Option(min=1, help="The past instead: so many customers, as fast as they are taken."),
    ] = None,
    weeks: Annotated[
        int, typer.Option(min=1, max=520, help="With --customers: over so many weeks up to now.")
    ] = 6,
    incident: Annotated[
        list[str] | None,
        typer.Option(help="`KIND@TIME`, e.g. `queue_jam@now`, `checkout_bug@-2h/30m`; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers.")] = 1,
    collector: Annotated[
        str | None, typer.Option(help="URL of the collector; else that of a running `up`.")
    ] = None,
    write_key: Annotated[str | None, typer.Option(help="Else the first one that is set.")] = None,
    data: Data = None,
) -> None:
    """Send believable traffic of many-channel customers to a collector."""
    from ingest.simulation.incidents import parse_incident
    from ingest.simulator import SimulationConfig, live_traffic, past_traffic
    from ingest.simulator import simulate as send

    now = time.time_ns() // 1_000_000
    incidents = tuple(parse_incident(text, now) for text in incident or ())
    if customers is not None:
        traffic = past_traffic(customers, now=now, weeks=weeks, seed=seed, incidents=incidents)
    else:
        traffic = live_traffic(rate or 10.0, now=now, seed=seed, incidents=incidents)
    door = _door(data, collector, write_key, live=customers is None)
    with console().status("sending") as status:
        try:
            sent = send(
                SimulationConfig(traffic=traffic, door=door),
                lambda so_far: status.update(
                    f"{so_far.calls + so_far.stripe_events:,} sent, {so_far.per_second:,.0f}/s"
                ),
            )
        except KeyboardInterrupt:
            return
    print(f"{sent.accepted:,} accepted, {sent.rejected:,} rejected")
    if sent.left_out:
        print(f"{sent.left_out:,} Stripe events were left out: DESIRELINE_STRIPE_SECRET is not set")


def _door(data: Path | None, collector: str | None, write_key: str | None, *, live: bool) -> "Door":
    """A running `up`, or the collector that is named."""
    from ingest.simulation.sender import Door

    read = settings()
    running = DataFolder((data or read.data).expanduser().absolute()).alive() if collector is None else None
    keys = running.write_keys if running else read.write_keys
    url = collector or (running.urls.collector if running else None)
    key = write_key or next(iter(keys), None)
    if url is None or key is None:
        raise UpError(
            "no collector is known" if url is None else "no write key is known",
            remedy="Start `desireline up`, or give --collector and --write-key.",
        )
    secret = running.stripe_secret if running else read.stripe_secret
    return Door(collector_url=url, write_key=key, stripe_secret=secret, live=live)


def load(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="jsonl, csv, parquet; also .gz.")
    ],
    source: Annotated[
        str, typer.Option(help="Name of the sender: with a row's id it is the touchpoint's id.")
    ],
    map: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="YAML file: which column is which field.")
    ] = None,
    collector: Annotated[
        str | None, typer.Option(help="URL of the collector; else that of a running `up`.")
    ] = None,
    write_key: Annotated[str | None, typer.Option(help="Else the first one that is set.")] = None,
    data: Data = None,
) -> None:
    """Read files of touchpoints into the pipeline; a row is a touchpoint. Loading again changes nothing."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ingest.files import load_files
    from ingest.mapping import read_mapping

    columns = read_mapping(map.read_text(), where=str(map)) if map is not None else None
    door = _door(data, collector, write_key, live=False)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console(stderr),
    ) as bar:
        task = bar.add_task("loading", total=sum(path.stat().st_size for path in files))
        loaded = load_files(
            files,
            source,
            collector_url=door.collector_url,
            write_key=door.write_key,
            columns=columns,
            progress=lambda read_bytes, so_far: bar.update(
                task, completed=read_bytes, description=f"{so_far.accepted:,} touchpoints"
            ),
        )
    print(f"{loaded.rows:,} rows: {loaded.accepted:,} accepted, {loaded.rejected:,} rejected")
    if loaded.rejected:
        print("`desireline rejected list` says why.")

"""One role each, for a cluster; `desireline up` starts the same ones as its children."""

import os

import typer

from desireline import configs
from desireline.cli.options import settings
from desireline.logs import log_to_stderr


def add_to(app: typer.Typer) -> None:
    """The roles."""
    for command in (collector, worker, dashboards):
        app.command(rich_help_panel="Roles")(command)
    app.command(hidden=True)(broker)
    app.command(hidden=True)(republish)


def collector() -> None:
    """Take touchpoints over HTTP, spool them, publish them to Kafka."""
    read = settings()
    log_to_stderr(read.log_level)
    from ingest.collector import create_app

    configs.serve(create_app(configs.collector(read)), read.host, read.collector_port)


def worker() -> None:
    """Stitch, load and alert: the Faust agents."""
    read = settings()
    log_to_stderr(read.log_level)
    from streams.app import run_worker

    raise typer.Exit(run_worker(configs.worker(read)))


def dashboards() -> None:
    """Serve the pages and the query API."""
    read = settings()
    log_to_stderr(read.log_level)
    from dashboards.app import create_app

    configs.serve(create_app(configs.dashboards(read)), read.host, read.dashboards_port)


def broker() -> None:
    """The embedded broker, alone: becomes its process."""
    from streams.embedded_broker import command

    line = command(settings().broker_port)
    os.execv(line[0], line)  # noqa: S606  no shell is wanted


def republish() -> None:
    """Put back what a new embedded broker lacks, then keep an eye on what the warehouse has."""
    read = settings()
    log_to_stderr(read.log_level)
    from desireline.republish import run

    run(read)

"""The warehouse: serve the embedded one, make its tables, look at what is there."""

from pathlib import Path
from typing import Annotated

import typer

from desireline.cli.options import Data, Formatted, settings
from desireline.logs import log_to_stderr
from desireline.render import Format, show

app = typer.Typer(help="The warehouse: tables, migrations, and the embedded one.", no_args_is_help=True)


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option("--data", help="Data folder that holds the warehouse.")] = None,
    host: Annotated[str | None, typer.Option(help="Beyond this machine only with a password.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Serve the embedded warehouse of a data folder over ClickHouse's HTTP interface."""
    from desireline import configs

    read = settings(data_dir=str(data) if data else None, warehouse_port=port)
    log_to_stderr(read.log_level)
    # pages and collector may listen on all addresses; the warehouse does so only when it is told itself
    configs.serve_warehouse(read, host or "127.0.0.1")


@app.command()
def migrate() -> None:
    """Make or change tables, views and the read-only user to what this version needs. Safe to run twice."""
    from desireline import readers
    from desireline.asking import said_clearly
    from desireline.current_model import await_current
    from warehouse.migrations import migrate as bring_up_to_date

    read = settings()
    with said_clearly(read.warehouse_url):
        applied = bring_up_to_date(read.warehouse_url)
        readers.ensure(read)
        await_current(read)
    print(f"{len(applied)} migrations were applied" if applied else "nothing was left to migrate")


@app.command()
def status(data: Data = None, format: Formatted = Format.table) -> None:
    """Tables with their rows and size, the journey models they are judged under, and the migrations applied."""
    from desireline.asking import asking
    from warehouse import status as tables

    with asking(settings(), data) as connection:
        show(tables.status(connection), format)
        if format is Format.table:
            show(tables.journey_models(connection), format)
            show(tables.migrations(connection), format)


@app.command()
def ddl(
    cluster: Annotated[
        str | None, typer.Option(help="Name of the ClickHouse cluster: replicated, sharded.")
    ] = None,
) -> None:
    """The SQL that makes the tables, for one server or for a cluster."""
    from warehouse import ddl as dialects

    print(dialects.script(cluster=cluster), end="")

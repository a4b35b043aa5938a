"""The Kafka topics: make them, look at them."""

import typer

from desireline.cli.options import Data, Formatted, settings
from desireline.errors import UpError
from desireline.render import Format, console, show
from desireline.running import DataFolder
from desireline.settings import Settings

app = typer.Typer(help="The Kafka topics.", no_args_is_help=True)


@app.command()
def create(data: Data = None) -> None:
    """Make the topics that are missing, with their partitions and settings; none is changed."""
    from desireline.current_model import current_or_set
    from streams.topics import create_topics

    read = settings()
    servers = bootstrap_servers(read, data)
    made = create_topics(
        servers,
        read.partitions,
        replication_factor=read.replication_factor,
        own_channels=current_or_set(read).own_channels,
    )
    print(f"{len(made)} topics made on {servers}" if made else f"all topics are there on {servers}")


@app.command()
def status(data: Data = None, format: Formatted = Format.table) -> None:
    """Partitions, records, and how far behind each group is; what is still being put back."""
    import pandas as pd

    from desireline import progress
    from streams.topics import topic_status

    read = settings()
    lines = [
        {"topic": one.topic, "partitions": one.partitions, "records": one.records, "lag": one.lag}
        for one in topic_status(bootstrap_servers(read, data))
    ]
    columns = ["topic", "partitions", "records", "lag"]
    show(pd.DataFrame(lines, columns=columns).astype({"lag": "Int64"}), format)
    folder = DataFolder((data or read.data).expanduser().absolute())
    if format is Format.table and folder.alive() and (now := progress.read(folder)):
        console().print(now.sentence)


def bootstrap_servers(read: Settings, data: Data = None) -> str:
    """The broker of a running `up`, else the one that is set. UpError if none runs on the `data` given."""
    folder = DataFolder((data or read.data).expanduser().absolute())
    running = folder.alive()
    if data and not running:
        raise UpError(
            f'no `desireline up` runs on "{folder.path}"',
            remedy="Its broker lives only as long as it does. Without --data, DESIRELINE_BOOTSTRAP_SERVERS is asked.",
        )
    if running and (data or read.bootstrap_servers == Settings().bootstrap_servers):
        return running.urls.broker
    return read.bootstrap_servers

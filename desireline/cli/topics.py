"""The Kafka topics: make them, look at them."""

from typing import Annotated

import typer

from desireline.cli.options import Data, Formatted, settings
from desireline.render import Format, console, show
from desireline.running import DataFolder
from desireline.settings import Settings

app = typer.Typer(help="The Kafka topics.", no_args_is_help=True)


@app.command()
def create(data: Data = None) -> None:
    """Make the topics that are missing, with their partitions and settings; never changes one that is there."""
    from streams.topics import create_topics

    read = settings()
    create_topics(bootstrap_servers(read, data), read.partitions, read.replication_factor)


@app.command()
def status(data: Data = None, format: Formatted = Format.table) -> None:
    """Partitions, records, and how far behind each group is; what is still being put back."""
    import pandas as pd

    from desireline import republish
    from streams.topics import topic_status

    read = settings()
    show(pd.DataFrame([_line(topic) for topic in topic_status(bootstrap_servers(read, data))]), format)
    folder = DataFolder((data or read.data).expanduser().absolute())
    if format is Format.table and folder.alive() and (progress := republish.progress(folder)):
        console().print(progress.sentence)


def bootstrap_servers(read: Settings, data: Data = None) -> str:
    """The broker of a running `up`, else the one that is set."""
    running = DataFolder((data or read.data).expanduser().absolute()).alive()
    if running and (data or read.bootstrap_servers == Settings().bootstrap_servers):
        return running.urls.broker
    return read.bootstrap_servers

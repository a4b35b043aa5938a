"""What brings touchpoints in beside the collector: files, and simulated traffic."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """`load` and `simulate`."""
    app.command(rich_help_panel="Touchpoints")(load)
    app.command(rich_help_panel="Touchpoints")(simulate)


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
) -> None:
    """Read files into the pipeline."""
    raise NotImplementedError


def simulate() -> None:
    """Send believable traffic to a collector."""
    raise NotImplementedError

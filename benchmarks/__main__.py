"""`python -m benchmarks [NAME …]`: run them, by default all that take minutes; a table, and lines for a program."""

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from benchmarks.figures import Figure, show


class Benchmark(StrEnum):
    """Modules of this package that have `measure`."""

    fold = "fold"
    state = "state"
    agent = "agent"
    memory = "memory"
    end_to_end = "end_to_end"
    loading = "loading"
    start = "start"
    analyses = "analyses"


_BY_NAME_ALONE = frozenset(
    {Benchmark.start, Benchmark.analyses}
)  # make a folder with ten million touchpoints first


def main(names: Annotated[list[Benchmark] | None, typer.Argument(help="Which ones.")] = None) -> None:
    """How fast it is on this machine, beside a naive agent and beside the limit."""
    figures: list[Figure] = []
    for name in names or [one for one in Benchmark if one not in _BY_NAME_ALONE]:
        typer.echo(f"measuring {name.value} …", err=True)
        figures += import_module(f"benchmarks.{name.value}").measure()
    show(figures)


if __name__ == "__main__":
    typer.run(main)

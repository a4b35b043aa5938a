"""A figure, how it is printed for a program, and the table for a person."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """One number that was measured. `beside`: what it is to be read against."""

    name: str
    value: float
    unit: str
    beside: str = ""

    @property
    def line(self) -> str:
        """`bench NAME VALUE UNIT`, for a program to read."""
        return f"bench {self.name} {self.value:.6g} {self.unit}"


def show(figures: Sequence[Figure]) -> None:
    """All of them as a table, and each as a line."""
    table = Table(title="desireline, measured on this machine just now", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("beside")
    for figure in figures:
        digits = 0 if figure.value >= 100 else 2
        table.add_row(figure.name, f"{figure.value:,.{digits}f}", figure.unit, figure.beside)
    Console(width=140).print(table)
    for figure in figures:
        print(figure.line, flush=True)

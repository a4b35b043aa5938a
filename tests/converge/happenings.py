"""What was done to the pipeline and what came of it, as it happened and as a table."""

import threading
import time
from collections import Counter
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

KILLS = ("killed", "frozen")


class Outcome(NamedTuple):
    """What a run ended with: what differs or did not hold, and how many touchpoints there were."""

    wrong: list[str]
    touchpoints: int


class Happenings:
    """Counts and tells what happens. `kills`: processes that were killed or frozen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.counts: Counter[tuple[str, str]] = Counter()

    @property
    def kills(self) -> int:
        return sum(count for (_, what), count in self.counts.items() if what in KILLS)

    def note(self, part: str, what: str, detail: str = "") -> None:
        """`what` was done to a part."""
        with self._lock:
            self.counts[part, what] += 1
        at = time.monotonic() - self._began
        self.say(f"{at:6.1f} s  {part} {what}{f': {detail}' if detail else ''}")

    def count(self, part: str, what: str, number: int = 1) -> None:
        """The same without a line of its own."""
        with self._lock:
            self.counts[part, what] += number

    def say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def show(self, title: str) -> None:
        """Everything, counted."""
        table = Table("part", "what", "times", title=title, title_justify="left")
        table.columns[2].justify = "right"
        for (part, what), count in sorted(self.counts.items()):
            table.add_row(part, what, f"{count:,}")
        self._console.print(table)

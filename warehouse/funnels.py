"""Funnels: how many customers reach each step, in order, within a window.

The rules. A try begins at a touchpoint of the first step, its entry; the range selects entries, and what
comes after its end but within the window counts. The try ends `within` after the entry, that instant
included.
- `ordered`: to the next steps in their order, each at a time no earlier than the step before. Others may lie
  between, those of equal time may be taken in either order, and one touchpoint takes one step only.
- `strict`: the customer's very next touchpoint, in the order of (occurred_at, id), is the next step, or the
  try has ended.
- `any`: level k is k different steps, by k touchpoints; the entry is the first of them.

A customer counts once, at the deepest level that any of their entries allows. Of several such tries the one
that is completed first counts, with the latest entry that it can have; from it are the times and the value of
a breakdown (of several entries at its instant, the smallest).

Something excluded strictly between the entry and the last step, or the window's end where the last step is
not reached, spoils a try. Whose deepest tries are all spoiled is not counted; in `any` order a spoiled try
does not count, and the deepest of the others does.

Who has not converted, and whose window after the latest entry has not ended at the watermark, is open, and
not lost. Rates are over the decided: all who entered but those who are open at an earlier step. With a 95 %
interval (Wilson).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import msgspec
import pandas as pd
from sqlalchemy import Engine, text

from warehouse.answer import Answer, QuestionError, answer, ask, check_range, utc, watermark
from warehouse.binds import Binds
from warehouse.filters import overlap
from warehouse.keys import Wanted, of_customers
from warehouse.statistics import wilson
from warehouse.steps import check_field, check_names, duration_ms, parse
from warehouse.ties import Counted, Rules, counted
from warehouse.tries import STEP_BITS, Tries

ORDERS = ("ordered", "strict", "any")
MOST_STEPS = STEP_BITS
LONGEST_MS = 20 * 365 * 86_400_000
_COLUMNS = ("step", "name", "count", "open", "lost", "rate", "lo", "hi", "rate_from_previous", "median_s")
_END_OF_TIME = 1 << 43  # UTC ms; what lies before fits above the bits of the steps


def funnel(
    connection: Engine,
    steps: Sequence[str],
    *,
    within: str = "7d",
    order: str = "ordered",
    by: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    exclude: Sequence[str] = (),
) -> Answer:
    """One row per step, and per value of `by` at the entry of the counted try, the most frequent first.

    Columns: step (from 1), name, count, open, lost (stopped here), rate (of decided entries, 0–1; NaN: none
    is), lo, hi (95 %), rate_from_previous, median_s (from the step before). QuestionError says what of it
    cannot be asked.
    """
    question = Question(steps, within=within, order=order, by=by, since=since, until=until, exclude=exclude)
    check_names(connection, [*question.steps, *question.excluded])
    up_to = watermark(connection)
    now = 0 if up_to is None else _ms(up_to)  # before the first watermark nothing is decided
    tied = _tied(connection, question)
    binds = Binds()
    sql = question.tallies(binds, now, gaps=bool(tied))
    found = ask(connection, text(sql), binds)
    tallies = {row[0]: Tally(*row[1:]) for row in found.itertuples(index=False, name=None)}
    for value, one in tied:
        undecided = len(one.times) < question.last and one.latest_entry + question.window_ms >= now
        tallies.setdefault(value, Tally.empty(question.last)).add(one, undecided=undecided)
    if not by:
        tallies = {"": tallies.get("", Tally.empty(question.last))}
    most_first = sorted(tallies.items(), key=lambda item: (-item[1].reached[0], item[0]))
    rows = [row for value, tally in most_first for row in tally.rows(question, value)]
    frame = pd.DataFrame(rows, columns=[*([by] if by else []), *_COLUMNS])
    return answer(frame.astype(_DTYPES), found.sql(), up_to)


_DTYPES = {
    **dict.fromkeys(("step", "count", "open", "lost"), "int64"),
    **dict.fromkeys(("rate", "lo", "hi", "rate_from_previous", "median_s"), "float64"),
}


class Question:
    """A funnel as it was asked, checked; and as SQL, in which every value is bound."""

    def __init__(
        self,
        steps: Sequence[str],
        *,
        within: str,
        order: str,
        by: str | None,
        since: datetime | None,
        until: datetime | None,
        exclude: Sequence[str],
    ) -> None:
        if not 1 <= len(steps) <= MOST_STEPS:
            raise QuestionError(
                f"a funnel has 1 to {MOST_STEPS} steps, not {len(steps)}",
                remedy="Name them in their order, e.g. product_view add_to_cart purchase.",
            )
        if order not in ORDERS:
            raise QuestionError(f'order "{order}" is not known', remedy=f"It is one of {', '.join(ORDERS)}.")
        if exclude and order == "strict":
            raise QuestionError(
                "nothing lies between the steps of a strict funnel that could be excluded",
                remedy="Leave the exclusion out, or ask for another order.",
            )
        self.steps = [parse(step) for step in steps]
        self.excluded = [parse(step) for step in exclude]
        self.last = len(self.steps)
        self.order = order
        self.by = check_field(by) if by else None
        self.window_ms = duration_ms(within)
        if self.window_ms > LONGEST_MS:
            raise QuestionError(f'the window "{within}" is longer than 20 years', remedy="Write e.g. 30d.")
        check_range(since, until)
        self.range_ms = (None if since is None else _ms(since), None if until is None else _ms(until))

    @property
    def rules(self) -> Rules:
        """What `ties` has to know."""
        since, until = self.range_ms
        return Rules(self.last, self.window_ms, self.order == "any", since or 0, until or _END_OF_TIME)

    def tallies(self, binds: Binds, now: int, *, gaps: bool) -> str:
        """SQL: a row per value of the breakdown, as `Tally`. `now`: the watermark, UTC ms.

        `gaps`: all times between steps, instead of their medians.
        """
        tries = self.tries(binds)
        steps = range(1, self.last + 1)
        between = [f"toInt64(times[{k}]) - toInt64(times[{k - 1}]), level >= {k}" for k in steps[1:]]
        reached = ", ".join(f"countIf(level >= {k})" for k in steps)
        still = ", ".join(f"countIf(level = {k} and undecided)" for k in steps)
        all_gaps = ", ".join(f"groupArrayIf({gap})" for gap in between) if gaps else ""
        medians = "" if gaps else ", ".join(f"quantileExactInclusiveIf(0.5)({gap})" for gap in between)
        undecided = f"level < {self.last} and latest_entry + {tries.window} >= {binds.bound(now)}"
        return f"""
            select value, [{reached}] as reached, [{still}] as still, [{all_gaps}] as gaps,
                   [{medians}] as medians
            from (select value, level, times, {undecided} as undecided from ({tries.sql()}))
            group by value"""  # noqa: S608  values are bound, names are ours

    def tries(self, binds: Binds) -> Tries:
        """Every customer's try, as SQL."""
        since, until = (None if bound is None else binds.bound(bound) for bound in self.range_ms)
        window = binds.bound(self.window_ms)
        wanted = Wanted(self.steps, self.excluded, self.by, self.order, since, until, window)
        entry = [*([f"t >= {since}"] if since else []), *([f"t < {until}"] if until else [])]
        return Tries(
            customers=of_customers(wanted, binds),
            last=self.last,
            order=self.order,
            overlapping=overlap(self.steps),
            entry=f"({' and '.join(entry) or '1'})",
            window=window,
        )


class Tally(msgspec.Struct):
    """Customers of one value of a breakdown, by step: who reached it, who is open there; and the ms since the
    step before, each of them or their median.
    """

    reached: list[int]
    still: list[int]
    gaps: list[list[int]]
    medians: list[float]

    @classmethod
    def empty(cls, last: int) -> "Tally":
        """Nobody."""
        return cls([0] * last, [0] * last, [[] for _ in range(1, last)], [])

    def add(self, one: Counted, *, undecided: bool) -> None:
        """Count one more customer."""
        level = len(one.times)
        for step in range(level):
            self.reached[step] += 1
        self.still[level - 1] += undecided
        for step in range(1, level):
            self.gaps[step - 1].append(one.times[step] - one.times[step - 1])

    def median_ms(self, step: int) -> float | None:
        """From the step before, counted from 0; None where nobody came that far."""
        if step == 0 or not self.reached[step]:
            return None
        return self.medians[step - 1] if self.medians else median(self.gaps[step - 1])

    def rows(self, question: Question, value: str) -> Iterator[tuple[Any, ...]]:
        """A row of the answer per step."""
        for step, asked in enumerate(question.steps):
            count, still = self.reached[step], self.still[step]
            after = self.reached[step + 1] if step + 1 < question.last else count
            decided = self.reached[0] - sum(self.still[:step])
            before = self.reached[step - 1] - self.still[step - 1] if step else 0
            gap = self.median_ms(step)
            row = (
                step + 1,
                asked.name if question.order != "any" else f"any {step + 1} of {question.last}",
                count,
                still,
                count - after - still,
                count / decided if decided else None,
                *wilson(count, decided),
                count / before if before else None,
                None if gap is None else gap / 1000,
            )
            yield (value, *row) if question.by else row


def _tied(connection: Engine, question: Question) -> list[tuple[str, Counted]]:
    """Those whom SQL leaves out, with the value of the breakdown that they count for."""
    binds = Binds()
    sql = question.tries(binds).left_out()
    if sql is None:
        return []
    tied = []
    for keys, excluded, entry_values in ask(connection, text(sql), binds).itertuples(index=False, name=None):
        one = counted(keys, excluded, question.rules)
        if one is not None:
            tied.append((min((value for at, value in entry_values if at == one.times[0]), default=""), one))
    return tied


def _ms(at: datetime) -> int:
    return round(utc(at).timestamp() * 1000)

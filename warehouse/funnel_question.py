"""A funnel as it was asked, checked; and as SQL, in which every value is bound."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Engine

from warehouse.answer import QuestionError, ask, utc
from warehouse.binds import Binds
from warehouse.durations import duration_ms
from warehouse.exclusions import Exclusion, exclusion
from warehouse.filters import overlap
from warehouse.keys import Per, Wanted, of_units
from warehouse.limited_tries import Limit
from warehouse.scope import Scope
from warehouse.step import Step, check_field
from warehouse.steps import StepLike, check_names, parse
from warehouse.tries import STEP_BITS, STEPS_TAKEN, Tries, not_reached
from warehouse.walked_tries import Rule, Rules, walk

Order = Literal["ordered", "strict", "any"]
ORDERS = ("ordered", "strict", "any")
MOST_STEPS = STEP_BITS
LONGEST_MS = 20 * 365 * 86_400_000
_END_OF_TIME = 1 << 43  # UTC ms; what lies before fits above the bits of the steps


class Try(msgspec.Struct, frozen=True):
    """The counted try of a unit: the value of the breakdown; when it reached each step up to its level (0: it went
    on without), UTC ms; whether its unit has not converted and may still do so.
    """

    unit: str
    value: str
    times: tuple[int, ...]
    undecided: bool


class Question:
    """See `warehouse.funnels.funnel`. QuestionError says what of it cannot be asked."""

    def __init__(
        self,
        steps: Sequence[StepLike],
        scope: Scope,
        *,
        within: str,
        order: str,
        per: Per,
        by: str | None,
        value_of: str,
        exclude: Sequence[StepLike],
    ) -> None:
        if not 1 <= len(steps) <= MOST_STEPS:
            raise QuestionError(
                f"a funnel has 1 to {MOST_STEPS} steps, not {len(steps)}",
                remedy="Name them in their order, e.g. product_view add_to_cart purchase.",
            )
        if order not in ORDERS:
            raise QuestionError(f'order "{order}" is not known', remedy=f"It is one of {', '.join(ORDERS)}.")
        self.steps = [parse(step) for step in steps]
        self.last = len(self.steps)
        self.order = order
        self.per: Per = per
        self.scope = scope
        self._check_limits()
        self.exclusions: list[Exclusion] = [exclusion(one, self.steps, order) for one in exclude]
        self.by = check_field(by) if by else None
        self.every = by is not None and value_of == "every"
        self.value_at = self._value_at(value_of)
        self.window_ms = duration_ms(within)
        if self.window_ms > LONGEST_MS:
            raise QuestionError(f'the window "{within}" is longer than 20 years', remedy="Write e.g. 30d.")
        since, until = scope.since, scope.until
        self.range_ms = (None if since is None else ms(since), None if until is None else ms(until))

    def check_names(self, connection: Engine) -> None:
        """QuestionError if a step or an exclusion names a type or phase that is not known."""
        check_names(connection, [*self.steps, *(one.step for one in self.exclusions)])

    @property
    def whole(self) -> bool:
        """Whether what is excluded is so from the first step to the last."""
        return all((one.first, one.last) == (1, self.last) for one in self.exclusions)

    def units(self, binds: Binds, now: int) -> str:
        """SQL: a row per counted unit that SQL can walk: unit, value, level, times, undecided. `now`: the watermark,
        UTC ms.
        """
        return self._tries(binds).sql(binds.bound(now))

    def walked(self, connection: Engine, now: int) -> list[Try]:
        """The counted tries of the other units."""
        binds = Binds()
        left_out = self._tries(binds).left_out()
        if left_out is None:
            return []
        since, until = self.range_ms
        rules = Rules(
            steps=tuple(Rule(step.optional, step.within_ms, step.after_ms) for step in self.steps),
            window=self.window_ms,
            any_order=self.order == "any",
            since=since or 0,
            until=until or _END_OF_TIME,
            spans=tuple((one.first - 1, one.last - 1) for one in self.exclusions),
        )
        found = []
        rows = ask(connection, left_out, binds).itertuples(index=False, name=None)
        for unit, keys, outs, values in rows:
            one = walk(keys, outs, rules)
            if one is not None:
                undecided = len(one.times) < self.last and one.latest_entry + self.window_ms >= now
                found.append(Try(unit, self._value(one.times, values), one.times, undecided))
        return found

    def _tries(self, binds: Binds) -> Tries:
        since, until = (None if bound is None else binds.bound(bound) for bound in self.range_ms)
        window = binds.bound(self.window_ms)
        wanted = Wanted(
            steps=self.steps,
            excluded=[one.step for one in self.exclusions],
            scope=self.scope,
            per=self.per,
            by=self.by,
            every=self.every,
            entries_only=self.value_at == 1 and not self.every,
            order=self.order,
            since=since,
            until=until,
            window=window,
        )
        entry = [*([f"t >= {since}"] if since else []), *([f"t < {until}"] if until else [])]
        return Tries(
            units=of_units(wanted, binds),
            limits=tuple(_limit(step, binds) for step in self.steps),
            order=self.order,
            overlapping=overlap(self.steps),
            whole=self.whole,
            entry=f"({' and '.join(entry) or '1'})",
            window=window,
            value_at=self.value_at,
        )

    def _value(self, times: Sequence[int], values: Sequence[tuple[int, str]]) -> str:
        """The value of the breakdown, as `Tries.sql` finds it."""
        if self.by is None:
            return ""
        if self.every:
            return values[0][1]
        place = self.value_at or len(times)
        if place > len(times) or not times[place - 1]:
            return not_reached(place)
        taking = STEPS_TAKEN if self.order == "any" else 1 << (place - 1)
        return min(value for key, value in values if key >> STEP_BITS == times[place - 1] and key & taking)

    def _value_at(self, value_of: str) -> int:
        """The number of the step whose value counts; 0: the last that was reached."""
        if value_of in ("entry", "last", "every"):
            return 0 if value_of == "last" else 1
        if value_of.isdecimal() and 1 <= int(value_of) <= self.last:
            return int(value_of)
        raise QuestionError(
            f'"{value_of}" is no step whose value could be taken',
            remedy=f"It is entry, last, every, or the number of a step, 1 to {self.last}.",
        )

    def _check_limits(self) -> None:
        for number, step in enumerate(self.steps, start=1):
            if self.order == "any" and step.limited:
                raise QuestionError(
                    f'step {number}, "{step.name}", needs a step before it, and in any order there is none',
                    remedy="Leave out within, after and ?, or ask for an ordered funnel.",
                )
            if step.optional and number in (1, self.last):
                raise QuestionError(
                    f'step {number}, "{step.name}", cannot be optional: a funnel begins and ends with what it counts',
                    remedy="Leave out the ?, or put a step before or after it.",
                )
            if number == 1 and step.limited:
                raise QuestionError(
                    f'nothing comes before step 1, "{step.name}"', remedy="Leave out its within and after."
                )


def _limit(step: Step, binds: Binds) -> Limit:
    within, after = (None if one is None else binds.bound(one) for one in (step.within_ms, step.after_ms))
    return Limit(step.optional, within, after)


def ms(at: datetime) -> int:
    """UTC ms of an instant."""
    return round(utc(at).timestamp() * 1000)

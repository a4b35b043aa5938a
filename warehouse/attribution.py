"""Attribution: to whom conversions, or what they brought, are credited, by one rule beside the other.

Which touches count is said in `warehouse.touch_paths`. The rules, for the path of each conversion:
- `first`, `last`: all to that touch. `linear`: the same to each touch.
- `position`: 40 % to the first, 40 % to the last, the rest in equal parts to those between; of two, half to each.
- `time_decay`: a touch weighs half as much as one that came a half-life later.
Two rules look at the lost paths as well, as a chain in which the next touch depends on the last alone:
- `markov`: in proportion to the removal effects: how far the chance of a conversion falls when paths end at a touch.
- `shapley`: to each the mean of what the chance grows by when it is let in, over all orders of letting touches in.
A conversion without a touch before it is credited to "(none)". Each rule gives away the whole, exactly.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import floor
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.durations import duration_ms
from warehouse.removal_effect import CONVERSION, LOST, START, Chain
from warehouse.shapley import ORDERS, shapley
from warehouse.statistics import wilson
from warehouse.touch_paths import End, To, TouchPaths

Rule = Literal["first", "last", "linear", "position", "time_decay", "markov", "shapley"]
RULES: tuple[Rule, ...] = get_args(Rule)

NONE_BEFORE = "(none)"
MOST_VALUES = 300
LONGEST_MS = 20 * 365 * 86_400_000
_UNIT = Decimal("0.0001")
_MANY = 100
_START = datetime(1970, 1, 1, tzinfo=UTC)


@analysis("attribution", hidden=("lo", "hi", "paths"))
def attribution(
    connection: Engine,
    *,
    by: Annotated[
        To, Doc("What is credited: campaigns, channels, utm sources or mediums, types of touchpoints.")
    ] = "campaign",
    of: Annotated[
        Literal["conversions", "revenue"], Doc("What is given away; revenue by currency.")
    ] = "conversions",
    rules: Annotated[Sequence[Rule], Doc("By which rules, one column each.")] = RULES,
    within: Annotated[str, Doc("How long before a conversion a touch may be, e.g. 30d.")] = "30d",
    half_life: Annotated[str, Doc("Of time_decay: who came so much earlier weighs half, e.g. 7d.")] = "7d",
    most: Annotated[int, Doc("Keep so many of the values with the most touches; others are (other).")] = 50,
    seed: Annotated[int, Doc("Of the orders that shapley samples where values are many.")] = 0,
    **among: Unpack[Among],
) -> Answer:
    """Which campaigns, channels or touchpoints conversions and revenue are credited to.

    One row per value of `by`, and currency, with the largest first and "(none)" last. The period is of conversions, and
    of touches that led to none; touches before it count for what came in it. Persona and campaign are those of the
    conversion's journey. Columns: the one of `by`; of conversions paths, converted (paths with it, and those that
    converted), rate, lo, hi (95 %; NaN of "(none)"); of revenue currency; then one per rule: conversions or major units
    (Decimal of 4 places; rules sum to the whole exactly). Part `shapley`: exact, orders, error (largest half width of a
    95 % interval, in conversions; revenue is credited in their proportion). QuestionError for a window of more than
    20 years, an unknown rule, `most` not in 1 to 300.
    """
    _check(rules, most)
    up_to = watermark(connection)
    paths = TouchPaths(
        to=by,
        within_ms=_duration(within),
        half_life_ms=_duration(half_life),
        scope=scope_of(connection, among),
        refunding=sorted(model_of(connection).refunding_types),
        up_to=up_to or _START,
    )
    binds = Binds()
    known = ask(connection, text(paths.values(most, binds)), binds)["value"].to_list()
    binds = Binds()
    kept = known[:most] if len(known) > most else None
    found = ask(connection, text(paths.moves(kept, binds, money=of == "revenue")), binds)
    counted = _Counted(found)
    shares, sampled = _shares(counted, rules, seed)
    columns: dict[str, str] = {by: "str"}
    if of == "conversions":
        columns |= dict.fromkeys(("paths", "converted"), "int64") | dict.fromkeys(
            ("rate", "lo", "hi"), "float64"
        )
        rows = _conversions(counted, shares, rules)
    else:
        columns |= {"currency": "str"}
        rows = _revenue(counted, shares, rules)
    columns |= {rule: "object" for rule in rules}
    frame = frames.frame(rows, columns)
    rates = {"rate": ("converted", "paths")} if of == "conversions" else {}
    measures = Measures(
        keys=(by,) if of == "conversions" else (by, "currency"),
        counts=("paths", "converted") if of == "conversions" else (),
        rates=rates,
        sums=tuple(rules),
    )
    return answer(frame, found.sql(), up_to, measures=measures, parts=sampled)


def _check(rules: Sequence[str], most: int) -> None:
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules:
        said = f'rule "{unknown[0]}" is not known' if unknown else "no rule is named"
        raise QuestionError(said, remedy=f"Rules are {', '.join(RULES)}.")
    if not 1 <= most <= MOST_VALUES:
        raise QuestionError(f"{most} values cannot be kept", remedy=f"Keep 1 to {MOST_VALUES} of them.")


def _duration(said: str) -> int:
    found = duration_ms(said)
    if found > LONGEST_MS:
        raise QuestionError(f'"{said}" is longer than 20 years', remedy="Write e.g. 30d.")
    return found


class _Counted:
    """The moves of all paths, added up as the rules need them."""

    def __init__(self, moves: pd.DataFrame) -> None:
        self.conversions: dict[str, int] = defaultdict(int)  # with a touch, by currency
        self.net: dict[str, Decimal] = defaultdict(Decimal)  # of these
        self.untouched = 0
        self.untouched_net: dict[str, Decimal] = defaultdict(Decimal)
        self.paths: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # by value: all, converted
        self.credits: dict[str, dict[str, dict[str, float]]] = {}  # rule, currency, value
        self.moves: dict[tuple[str, str, End], int] = defaultdict(int)
        for row in moves.to_dict("records"):
            touch, ends, currency = row["touch"], End(int(row["ends"])), row["currency"]
            if not touch and ends in (End.CONVERSION, End.REFUND):
                self.untouched += row["times"] if ends is End.CONVERSION else 0
                self.untouched_net[currency] += row["net"]
                continue
            self.moves[touch, row["next"], ends] += row["times"]
            if ends is End.CONVERSION:
                self.conversions[currency] += row["times"]
                self.net[currency] += row["net"]
            if touch:
                self.paths[touch][0] += row["paths"]
                self.paths[touch][1] += row["converted"]
                for rule in RULES[:5]:
                    of = self.credits.setdefault(rule, {}).setdefault(currency, defaultdict(float))
                    of[touch] += row[rule]

    @property
    def values(self) -> list[str]:
        """In their order."""
        return sorted(self.paths)

    def chain(self) -> Chain:
        """The paths with a touch as a chain, touches numbered in their order."""
        number = {value: n for n, value in enumerate(self.values)} | {"": START}
        ends = {End.CONVERSION: CONVERSION, End.LOST: LOST}
        return Chain.counted(
            len(self.paths),
            [
                (number[touch], ends.get(end, number[following]), times)
                for (touch, following, end), times in self.moves.items()
            ],
        )


Shares = Callable[[Rule, str, float], list[float]]
"""What a rule credits to each value, in their order, of a whole of conversions or of a currency."""


def _shares(counted: _Counted, rules: Sequence[Rule], seed: int) -> tuple[Shares, Mapping[str, Any]]:
    """The shares by all rules, and what is to be said of the sampling."""
    of_chain: dict[Rule, list[float]] = {}
    parts: dict[str, Any] = {}
    if {"markov", "shapley"} & set(rules):
        chain = counted.chain()
        if "markov" in rules:
            of_chain["markov"] = _parts_of_one(chain.removal_effects().tolist())
        if "shapley" in rules:
            many = len(counted.paths) > _MANY
            found = shapley(
                len(counted.paths), chain.gains, seed=seed, orders=ORDERS // 4 if many else ORDERS
            )
            of_chain["shapley"] = _parts_of_one(found.values.tolist())
            all_paths = sum(times for (touch, _, _), times in counted.moves.items() if not touch)
            error = float(found.errors.max(initial=0)) * all_paths
            parts["shapley"] = {"exact": not found.orders, "orders": found.orders, "error": error}

    def shares(rule: Rule, currency: str, whole: float) -> list[float]:
        if rule in of_chain:
            return [whole * part for part in of_chain[rule]]
        of = counted.credits.get(rule, {}).get(currency, {})
        return [of.get(value, 0.0) for value in counted.values]

    return shares, parts


def _parts_of_one(effects: list[float]) -> list[float]:
    total = sum(effects)
    return [effect / total if total else 0.0 for effect in effects]


def apportioned(whole: Decimal, shares: Sequence[float]) -> list[Decimal]:
    """The shares, which sum to the whole but for rounding, as ten-thousandths that sum to it exactly.

    Each is rounded down, and what is left over goes to those that lost most by it (Hamilton's method).
    """
    exact = [share / float(_UNIT) for share in shares]
    units = [floor(one) for one in exact]
    left = int(whole / _UNIT) - sum(units)
    by_loss = sorted(range(len(units)), key=lambda n: units[n] - exact[n])
    for turn in range(abs(left)):
        units[by_loss[turn % len(units)]] += 1 if left > 0 else -1
    return [one * _UNIT for one in units]


def _conversions(counted: _Counted, shares: Shares, rules: Sequence[Rule]) -> list[tuple[Any, ...]]:
    whole = sum(counted.conversions.values())
    by_rule = [apportioned(Decimal(whole), shares(rule, "", whole)) for rule in rules]
    rows: list[tuple[Any, ...]] = []
    for n, value in enumerate(counted.values):
        paths, converted = counted.paths[value]
        rate = converted / paths
        rows.append((value, paths, converted, rate, *wilson(converted, paths), *(of[n] for of in by_rule)))
    rows.sort(key=lambda row: (-row[2], -row[1], row[0]))
    if counted.untouched:
        alone = counted.untouched
        credited = [Decimal(alone).quantize(_UNIT)] * len(rules)
        rows.append((NONE_BEFORE, alone, alone, None, None, None, *credited))
    return rows


def _revenue(counted: _Counted, shares: Shares, rules: Sequence[Rule]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for currency in sorted({*counted.net, *counted.untouched_net} - {""}):
        whole = counted.net[currency]
        by_rule = [apportioned(whole, shares(rule, currency, float(whole))) for rule in rules]
        of_values = [(value, currency, *(of[n] for of in by_rule)) for n, value in enumerate(counted.values)]
        rows += sorted((row for row in of_values if any(row[2:])), key=lambda row: (-max(row[2:]), row[0]))
        if untouched := counted.untouched_net[currency]:
            rows.append((NONE_BEFORE, currency, *[untouched.quantize(_UNIT)] * len(rules)))
    return rows

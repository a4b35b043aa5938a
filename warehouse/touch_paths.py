"""The paths of touches that lead to a conversion or to none, as SQL; and what became of them, counted move by move.

A touch is a touchpoint that names what is credited and is no conversion itself. The path of a conversion holds the
customer's touches before it, in the order of (occurred_at, id), no longer ago than the window, in whatever journey. A
touch in the window of no conversion is lost, once its window has ended at the watermark; those that follow each other
within a window are one lost path. A refund belongs to the customer's latest conversion of its currency before it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

import msgspec

from warehouse.binds import Binds
from warehouse.scope import Scope

To = Literal["campaign", "channel", "source", "medium", "type"]
OTHER = "(other)"

_FIELDS = {
    "campaign": "campaign",
    "channel": "channel",
    "source": "campaign_source",
    "medium": "campaign_medium",
    "type": "type",
}


class End(IntEnum):
    """What a move leads to: a further touch, or the end of the path; `REFUND`: of no conversion that is known."""

    TOUCH = 0
    CONVERSION = 1
    LOST = 2
    REFUND = 3


class TouchPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Which paths: by what field, how long before a conversion, whose. `refunding`: types; `up_to`: the watermark."""

    to: To
    within_ms: int
    half_life_ms: int
    scope: Scope
    refunding: Sequence[str]
    up_to: datetime

    def values(self, most: int, binds: Binds) -> str:
        """SQL: the values that most touches have, one more than `most`."""
        field = _FIELDS[self.to]
        return f"""
            select toString({field}) as value from touchpoints
            where {field} != '' and not converts and {self._near(binds)}
            group by value order by count() desc, value limit {binds.bound(most + 1)}"""  # noqa: S608

    def moves(self, kept: Sequence[str] | None, binds: Binds, *, money: bool) -> str:
        """SQL: a row per touch ('': the beginning), what came next, how the path ended there, and currency.

        `kept`: values that stand for themselves, others are one; None: all do. Columns: touch, next, ends, currency,
        times, paths (that met the touch here first), converted (of these), net (of conversions that end here, less
        refunds; major units), and by rule what is credited to the touch: conversions, or their money.
        """
        worth = "toFloat64(path.5)" if money else "1"
        currency = "path.4" if money else "''"
        window, half_life = binds.bound(self.within_ms), binds.bound(float(self.half_life_ms))
        return f"""
            select touch, next, ends, currency, count() as times, sum(met) as paths,
                   sum(met and kind = 1) as converted, sumIf(money, ends in (1, 3)) as net,
                   sum(worth * (place = 1)) as first, sum(worth * (place = n)) as last,
                   sum(if(place = 0, 0, worth / n)) as linear,
                   sum(worth * multiIf(place = 0, 0, n = 1, 1, n = 2, 0.5, place in (1, n), 0.4, 0.2 / (n - 2)))
                       as position,
                   sum(worth * decayed) as time_decay
            from (
                select path.1 as kind, path.2 as touches, length(touches) as n, {currency} as currency,
                       path.5 as money, if(kind = 1, {worth}, 0) as worth,
                       arrayMap(age -> exp2((path.3[-1] - age) / {half_life}), path.3) as fading,
                       arrayPushFront(touches, '') as origins, arrayPushBack(touches, '') as nexts,
                       arrayMap(place -> if(place = n, kind, 0), range(n + 1)) as all_ends,
                       arrayMap(place -> place > 0 and indexOf(touches, origins[place + 1]) = place, range(n + 1))
                           as mets,
                       arrayPushFront(arrayMap(one -> one / arraySum(fading), fading), 0.) as all_decayed
                from (select arrayJoin(arrayConcat({self._converted(window)}, {self._lost(window)}, {_REFUNDS}))
                          as path
                      from ({self._customers(kept, window, binds)}))
            )
            array join origins as touch, nexts as next, all_ends as ends, mets as met, all_decayed as decayed,
                       range(n + 1) as place
            group by touch, next, ends, currency"""  # noqa: S608  values are bound, names are ours

    def _customers(self, kept: Sequence[str] | None, window: str, binds: Binds) -> str:
        """A row per customer: touches, conversions, refunds with whose they are, and touches that led to nothing.

        Tuples: at, id, value, kind (1: conversion, 2: refund), counted, money, currency.
        """
        field = _FIELDS[self.to]
        value = field
        if kept is not None:
            these = f"{field} = '' or has({binds.bound(list(kept))}, {field})"
            value = f"if({these}, {field}, {binds.bound(OTHER)})"
        counted = [*self.scope.of_touchpoints(binds), *self.scope.period("occurred_at", None, binds)]
        refunding = f"has({binds.bound(list(self.refunding))}, type)"
        up_to = binds.bound(round(self.up_to.timestamp() * 1000))
        return f"""
            select arraySort(groupArray(one)) as line,
                   arrayFilter(one -> one.4 != 1 and one.3 != '', line) as touches,
                   arrayFilter(one -> one.4 = 1, line) as conversions,
                   arrayMap(r -> (arrayLast(c -> c.7 = r.7 and (c.1, c.2) < (r.1, r.2), conversions).2, r.5, r.6, r.7),
                            arrayFilter(one -> one.4 = 2 and one.7 != '', line)) as refunds,
                   arrayFilter(t -> t.5 and t.1 + {window} < {up_to} and not arrayExists(
                       c -> (t.1, t.2) < (c.1, c.2) and c.1 - t.1 <= {window}, conversions), touches) as alone
            from (select customer_id,
                         (toUnixTimestamp64Milli(occurred_at), id, toString({value}),
                          multiIf(converts, 1, {refunding}, 2, 0), {" and ".join(counted) or "true"},
                          ifNull(amount, toDecimal64(0, 4)), if(amount is null, '', toString(currency))) as one
                  from touchpoints
                  where converts or {refunding} or ({field} != '' and {self._near(binds)}))
            group by customer_id"""  # noqa: S608  values are bound, names are ours

    def _near(self, binds: Binds) -> str:
        """Touches that can matter: in the period, or so long before it."""
        window = timedelta(milliseconds=self.within_ms)
        since = None if self.scope.since is None else self.scope.since - window
        longer = msgspec.structs.replace(self.scope, since=since)
        return " and ".join(longer.period("occurred_at", "occurred_on", binds)) or "true"

    def _converted(self, window: str) -> str:
        seen = f"arrayFilter(t -> (t.1, t.2) < (c.1, c.2) and t.1 >= c.1 - {window}, touches)"
        refunded = "arraySum(arrayMap(r -> if(r.1 = c.2, r.3, toDecimal64(0, 4)), refunds))"
        return f"""arrayMap(
            c -> (1, arrayMap(t -> t.3, {seen}), arrayMap(t -> c.1 - t.1, {seen}), c.7, {_money(f"c.6 - {refunded}")}),
            arrayFilter(c -> c.5, conversions))"""

    def _lost(self, window: str) -> str:
        gaps = "arrayDifference(arrayMap(t -> t.1, alone))"
        return f"""arrayMap(
            p -> (2, arrayMap(t -> t.3, p), arrayMap(t -> toInt64(0), p), '', {_money("0")}),
            arrayFilter(p -> notEmpty(p), arraySplit((t, gap) -> gap > {window}, alone, {gaps})))"""


def _money(amount: str) -> str:
    return f"toDecimal128({amount}, 4)"


_REFUNDS = f"""arrayMap(
    r -> (3, arrayMap(x -> '', range(0)), arrayMap(x -> toInt64(0), range(0)), r.4, {_money("-r.3")}),
    arrayFilter(r -> r.1 = '' and r.2, refunds))"""

"""Attribution the slow and obvious way: path by path with fractions, every order of players tried.

Shares no line with `warehouse`; chains are walked step by step (`tests.warehouse.chains`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import permutations
from typing import Any

from tests.warehouse.chains import chance

Row = dict[str, Any]
REFUNDS = ("refund_issued",)


@dataclass(frozen=True)
class Paths:
    """Of conversions: touches with their age in ms, currency, net amount. Lost ones. Refunds of nothing."""

    converted: list[tuple[list[tuple[str, int]], str, Decimal]]
    lost: list[list[str]]
    orphans: list[tuple[str, Decimal]]


def standing(written: Iterable[Row]) -> list[Row]:
    """Of each key the row of the greatest version, unless that is a tombstone; in order."""
    latest: dict[Any, Row] = {}
    for row in written:
        key = row["occurred_on"], row["id"]
        if key not in latest or row["version"] > latest[key]["version"]:
            latest[key] = row
    return sorted(
        (row for row in latest.values() if not row["deleted"]), key=lambda row: (row["at"], row["id"])
    )


def paths(rows: Sequence[Row], field: str, within: int, up_to: int, counts: Callable[[Row], bool]) -> Paths:
    """All paths of all customers; `counts`: whether a touchpoint is in the period and of whom is asked."""
    found = Paths([], [], [])
    for customer in sorted({row["customer_id"] for row in rows}):
        own = [row for row in rows if row["customer_id"] == customer]
        touches = [row for row in own if row[field] and not row["converts"]]
        taken: dict[str, Decimal] = {}
        for place, row in enumerate(own):
            if row["type"] in REFUNDS and not row["converts"] and row["amount"] is not None:
                before = [one for one in own[:place] if one["converts"] and money(one)[0] == row["currency"]]
                if before:
                    taken[before[-1]["id"]] = taken.get(before[-1]["id"], Decimal(0)) + row["amount"]
                elif counts(row):
                    found.orphans.append((row["currency"], -row["amount"]))
        for conversion in own:
            if conversion["converts"] and counts(conversion):
                seen = [
                    (touch[field], conversion["at"] - touch["at"])
                    for touch in touches
                    if own.index(touch) < own.index(conversion) and conversion["at"] - touch["at"] <= within
                ]
                currency, amount = money(conversion)
                found.converted.append((seen, currency, amount - taken.get(conversion["id"], Decimal(0))))
        before = None
        for touch in touches:
            leads = any(
                one["converts"] and own.index(one) > own.index(touch) and one["at"] - touch["at"] <= within
                for one in own
            )
            if leads or not counts(touch) or touch["at"] + within >= up_to:
                continue
            if before is None or touch["at"] - before > within:
                found.lost.append([])
            found.lost[-1].append(touch[field])
            before = touch["at"]
    return found


def money(row: Row) -> tuple[str, Decimal]:
    """Currency and amount; '' and 0 where there is none."""
    return (row["currency"], row["amount"]) if row["amount"] is not None else ("", Decimal(0))


def weights(rule: str, ages: Sequence[int], half_life: int) -> list[Fraction]:
    """What of its conversion is credited to each touch of a path, in order."""
    n = len(ages)
    if rule == "first":
        return [Fraction(place == 0) for place in range(n)]
    if rule == "last":
        return [Fraction(place == n - 1) for place in range(n)]
    if rule == "linear":
        return [Fraction(1, n)] * n
    if rule == "position":
        if n <= 2:
            return [Fraction(1, n)] * n
        return [Fraction(2, 5), *[Fraction(1, 5 * (n - 2))] * (n - 2), Fraction(2, 5)]
    fading = [Fraction(2 ** (-age / half_life)) for age in ages]
    return [one / sum(fading) for one in fading]


def credited(found: Paths, rule: str, half_life: int, currency: str | None) -> dict[str, Fraction]:
    """What each value is credited with: conversions, or money of a currency."""
    if rule in ("markov", "shapley"):
        shares = of_chain(found, rule)
        whole = sum(
            (
                Fraction(1 if currency is None else net)
                for seen, of, net in found.converted
                if seen and currency in (None, of)
            ),
            Fraction(0),
        )
        return {value: share * whole for value, share in shares.items()}
    credits: dict[str, Fraction] = {}
    for seen, of, net in found.converted:
        if seen and currency in (None, of):
            worth = Fraction(1 if currency is None else net)
            for (value, _), weight in zip(
                seen, weights(rule, [age for _, age in seen], half_life), strict=True
            ):
                credits[value] = credits.get(value, Fraction(0)) + weight * worth
    return credits


def of_chain(found: Paths, rule: str) -> dict[str, Fraction]:
    """The share of each value by removal effects or by Shapley values; of 1."""
    told = [(tuple(value for value, _ in seen), True) for seen, _, _ in found.converted if seen]
    told += [(tuple(lost), False) for lost in found.lost]
    effects = _effects(tuple(told), rule)
    total = sum(effects.values())
    return {value: Fraction(effect / total if total else 0.0) for value, effect in effects.items()}


@cache
def _effects(told: tuple[tuple[tuple[str, ...], bool], ...], rule: str) -> dict[str, float]:
    values = sorted({value for touches, _ in told for value in touches})
    numbered = [([values.index(value) for value in touches], converted) for touches, converted in told]
    everyone = frozenset(range(len(values)))
    worth = {}
    for bits in range(1 << len(values)):
        some = frozenset(n for n in everyone if bits >> n & 1)
        worth[some] = chance(numbered, some) if numbered else 0.0
    if rule == "markov":
        return {value: worth[everyone] - worth[everyone - {n}] for n, value in enumerate(values)}
    orders = list(permutations(everyone))
    return {
        value: sum(
            worth[frozenset(order[: order.index(n) + 1])] - worth[frozenset(order[: order.index(n)])]
            for order in orders
        )
        / len(orders)
        for n, value in enumerate(values)
    }

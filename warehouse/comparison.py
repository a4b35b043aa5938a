"""Two of what a question could be asked of: two personas, campaigns, cohorts, periods, before and after a day."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from warehouse.answer import QuestionError
from warehouse.scope import NOT, in_zone, time_zone

_NAMED = ("persona", "campaign", "cohort")
_KINDS = (*_NAMED, "period", "before")
_EXAMPLES = (
    "Write persona:Gold,Silver or persona:Gold (against all others), the same for campaign and cohort;"
    " period (against the one before it), period:2026-09-01..2026-10-01,2026-10-01..2026-11-01,"
    " or before:2026-10-15."
)


class Comparison(msgspec.Struct, frozen=True):
    """The names of the two, and the arguments in which a question of the one differs from the other's."""

    names: tuple[str, str]
    a: Mapping[str, Any]
    b: Mapping[str, Any]


def read(said: str, among: Mapping[str, Any]) -> Comparison:
    """A comparison as people write it, within the arguments of the question. QuestionError.

    `a` is what it is measured against: the first of two, the earlier period, the others.
    """
    zone = time_zone(among.get("timezone") or "UTC")
    among = {**among, **{name: in_zone(among.get(name), zone) for name in ("since", "until")}}
    kind, _, rest = said.partition(":")
    kind, values = kind.strip(), [value.strip() for value in rest.split(",") if value.strip()]
    if kind in _NAMED and len(values) in (1, 2):
        if among.get(kind):
            raise QuestionError(
                f"the question is narrowed to one {kind} and cannot compare two",
                remedy=f"Leave one of {kind} and compare out.",
            )
        # one alone is set against all others
        one, other = values if len(values) == 2 else (NOT + values[0], values[0])
        names = (one if len(values) == 2 else "others", other)
        return Comparison(names, {kind: one}, {kind: other})
    if kind == "before" and len(values) == 1:
        return _around(_time(values[0], said, zone), among)
    if kind == "period" and not rest.strip():
        return _with_the_one_before(among)
    if kind == "period" and len(values) == 2:
        a, b = (_period(value, said, zone) for value in values)
        return Comparison((values[0], values[1]), a, b)
    near = get_close_matches(kind, _KINDS, n=1)
    raise QuestionError(
        f'"{said}" cannot be compared', remedy=f'Did you mean "{near[0]}"? {_EXAMPLES}' if near else _EXAMPLES
    )


def _around(day: datetime, among: Mapping[str, Any]) -> Comparison:
    return Comparison(
        (f"before {day:%Y-%m-%d}", f"from {day:%Y-%m-%d}"),
        {"since": among.get("since"), "until": day},
        {"since": day, "until": among.get("until")},
    )


def _with_the_one_before(among: Mapping[str, Any]) -> Comparison:
    since, until = among.get("since"), among.get("until")
    if since is None or until is None:
        raise QuestionError(
            "a period without beginning or end has none before it", remedy="Give the question from and to."
        )
    length: timedelta = until - since
    return Comparison(
        ("the period before", "this period"),
        {"since": since - length, "until": since},
        {"since": since, "until": until},
    )


def _period(text: str, said: str, zone: ZoneInfo) -> Mapping[str, Any]:
    since, dots, until = text.partition("..")
    if not dots:
        raise QuestionError(f'"{text}" is no period', remedy=_EXAMPLES)
    return {"since": _time(since, said, zone), "until": _time(until, said, zone)}


def _time(text: str, said: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise QuestionError(f'"{text}" in "{said}" is no day or time', remedy=_EXAMPLES) from None
    return at if at.tzinfo else at.replace(tzinfo=zone)

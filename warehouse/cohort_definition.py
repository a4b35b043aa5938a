"""What a cohort is: a condition on customers, as people write it in YAML or JSON.

all:
  - did: add_to_cart[channel=web]
    at_least: 2
    last_days: 30
  - not: {did: purchase, last_days: 30}
  - any: [{persona: Gold}, {value_at_least: 500, currency: EUR}]

| written | holds for customers who |
|---|---|
| `did: STEP`, `at_least: n`, `at_most: n` | did this so often (at least once where neither is given) |
| `did_not: STEP` | never did this |
| `first_touch: {…}` | had their first touchpoint in this period |
| `persona: NAME` | were of this persona when one was last seen |
| `campaign: NAME` | came first by this campaign |
| `journey: {converted, dropped_off_in, current_phase, furthest_phase}` | have a journey for which all of these hold |
| `value_at_least: AMOUNT`, `currency: CODE` | brought so much: conversions less refunds |
| `customers: [IDENTIFIER, …]` | go by one of these |
| `all: […]`, `any: […]`, `not: …` | meet all, one, or not this |

`did`, `did_not`, `journey` (its beginning), `value_at_least` (of journeys begun in it) and `first_touch` may have a
period: `from` ≤ t < `to`, times without an offset in `timezone` (an IANA name; UTC); or `last_days`: so many times 24
hours before the watermark.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from warehouse.answer import QuestionError, check_range
from warehouse.doings import doing
from warehouse.scope import in_zone, time_zone
from warehouse.step import Step

MOST_CUSTOMERS = 10_000
_DEEPEST = 20
_EXAMPLE = "Write e.g. {did: purchase, at_least: 2, last_days: 30}; see `docs/analysis.md`."
_Count = Annotated[int, Meta(ge=0)]


class Period(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename={"since": "from", "until": "to"},
):
    """When it happened; nothing given: ever."""

    since: str | None = None
    until: str | None = None
    last_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    timezone: str | None = None

    def bounds(self, watermark: datetime | None) -> tuple[datetime | None, datetime | None]:
        """First instant and the one after the last. Before the first watermark nothing is in the last days.

        QuestionError for what is no time, or no time zone.
        """
        if self.last_days is not None:
            end = watermark or datetime.fromtimestamp(0, UTC)
            return end - timedelta(days=self.last_days), end
        zone = time_zone(self.timezone or "UTC")
        return _instant(self.since, zone), _instant(self.until, zone)


class Did(Period, frozen=True, rename={"step": "did", "since": "from", "until": "to"}):
    """Did this so often."""

    step: Any
    at_least: _Count | None = None
    at_most: _Count | None = None

    @property
    def taken(self) -> Step:
        """The step, read."""
        return doing(self.step)

    @property
    def times(self) -> tuple[int, int | None]:
        """From how often to how often; None: any number."""
        least = self.at_least if self.at_least is not None else int(self.at_most is None)
        return least, self.at_most


class DidNot(Period, frozen=True, rename={"step": "did_not", "since": "from", "until": "to"}):
    """Never did this."""

    step: Any

    @property
    def taken(self) -> Step:
        """The step, read."""
        return doing(self.step)


class FirstTouch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First touchpoint in a period."""

    first_touch: Period


class Persona(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a persona, by the last one seen."""

    persona: str


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Came first by a campaign."""

    campaign: str


class Outcome(Period, frozen=True):
    """How a journey went, so far."""

    converted: bool | None = None
    dropped_off_in: str | None = None
    current_phase: str | None = None
    furthest_phase: str | None = None


class Journey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Has a journey that went so."""

    journey: Outcome


class Value(Period, frozen=True):
    """Brought so much."""

    value_at_least: float
    currency: str


class Customers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Goes by one of these identifiers."""

    customers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_CUSTOMERS)]


class All(msgspec.Struct, frozen=True):
    """Meets all of them."""

    parts: "tuple[Condition, ...]"


class AnyOf(msgspec.Struct, frozen=True):
    """Meets one of them."""

    parts: "tuple[Condition, ...]"


class Not(msgspec.Struct, frozen=True):
    """Does not meet it."""

    part: "Condition"


Condition = Did | DidNot | FirstTouch | Persona | Campaign | Journey | Value | Customers | All | AnyOf | Not
_KINDS: Mapping[str, Any] = {
    "did": Did,
    "did_not": DidNot,
    "first_touch": FirstTouch,
    "persona": Persona,
    "campaign": Campaign,
    "journey": Journey,
    "value_at_least": Value,
    "customers": Customers,
}
_COMBINED: Mapping[str, Callable[[Any], Any]] = {"all": All, "any": AnyOf, "not": Not}


def read(said: Any, *, depth: int = 0) -> Condition:
    """A definition, checked as far as it can be without asking the warehouse. QuestionError."""
    if not isinstance(said, Mapping) or not said:
        raise QuestionError(f'"{said}" is no condition on customers', remedy=_EXAMPLE)
    if depth > _DEEPEST:
        raise QuestionError(f"the definition is nested more than {_DEEPEST} deep", remedy="Make it flatter.")
    known = [*_KINDS, *_COMBINED]
    kinds = [name for name in said if name in known]
    if not kinds:
        raise not_known("condition", str(next(iter(said))), known)
    kind = kinds[0]
    if len(kinds) > 1 and not (kind in _KINDS and set(kinds) <= set(_fields(_KINDS[kind]))):
        raise QuestionError(
            f'"{kinds[0]}" and "{kinds[1]}" stand in one condition',
            remedy=f"Write all: [{{{kinds[0]}: …}}, …].",
        )
    if kind in _COMBINED:
        return _combined(kind, said, depth)
    return _simple(kind, said)


def parts(condition: Condition) -> Iterator[Condition]:
    """The condition, and whatever it is made of."""
    yield condition
    if isinstance(condition, All | AnyOf):
        for part in condition.parts:
            yield from parts(part)
    elif isinstance(condition, Not):
        yield from parts(condition.part)


def _combined(kind: str, said: Mapping[str, Any], depth: int) -> Condition:
    if others := [name for name in said if name != kind]:
        raise QuestionError(
            f'"{others[0]}" stands beside "{kind}"', remedy=f'Put it into the list of "{kind}".'
        )
    inner = said[kind]
    if kind == "not":
        return Not(read(inner, depth=depth + 1))
    if not isinstance(inner, list | tuple) or not inner:
        raise QuestionError(f'"{kind}" combines nothing', remedy=f"Write {kind}: [{{did: purchase}}, …].")
    made: Condition = _COMBINED[kind](tuple(read(part, depth=depth + 1) for part in inner))
    return made


def _simple(kind: str, said: Mapping[str, Any]) -> Condition:
    struct = _KINDS[kind]
    given = plain(said)
    _check_names(kind, given, struct)
    for name, inner in (("first_touch", Period), ("journey", Outcome)):
        if kind == name and isinstance(given[name], Mapping):
            _check_names(name, given[name], inner)
    try:
        condition: Condition = msgspec.convert(given, struct, strict=False)
    except msgspec.ValidationError as error:
        said_wrong = str(error).replace("`", '"')
        raise QuestionError(
            f'"{kind}" is not as it should be: {said_wrong[:1].lower()}{said_wrong[1:]}', remedy=_EXAMPLE
        ) from None
    return _checked(condition)


def _checked(condition: Condition) -> Condition:
    """What no type can say."""
    period = {FirstTouch: "first_touch", Journey: "journey"}.get(type(condition))
    within = getattr(condition, period) if period else condition
    if isinstance(within, Period):
        if within.last_days is not None and (within.since or within.until):
            raise QuestionError("a period has both its last days and bounds", remedy="Leave one of them out.")
        if within.timezone is not None and not (within.since or within.until):
            raise QuestionError(
                'a period has a "timezone", and neither from nor to',
                remedy="Give it from or to, or leave timezone out.",
            )
        check_range(*within.bounds(None)) if within.last_days is None else None
    if isinstance(condition, Did):
        least, most = condition.times
        if most is not None and least > most:
            raise QuestionError(
                f"nobody does something at least {least} and at most {most} times", remedy="Swap the two."
            )
    if isinstance(condition, Did | DidNot):
        _ = condition.taken
    if isinstance(condition, Journey) and not any(
        getattr(condition.journey, name) is not None
        for name in (
            "converted",
            "dropped_off_in",
            "current_phase",
            "furthest_phase",
            "since",
            "until",
            "last_days",
        )
    ):
        raise QuestionError("nothing is said of the journey", remedy="Write e.g. journey: {converted: true}.")
    return condition


def _check_names(kind: str, given: Mapping[str, Any], struct: Any) -> None:
    for name in given:
        if name not in _fields(struct):
            raise not_known(f'part of "{kind}"', name, _fields(struct))


def _fields(struct: Any) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def not_known(what: str, name: str, known: Collection[str]) -> QuestionError:
    """The error that a name is not known, with the nearest that are, or with some of those that there are."""
    remedy = f"There are {', '.join(sorted(known)[:12])}." if known else f"There is no {what} yet."
    if near := get_close_matches(name, sorted(known), n=3):
        choices = " or ".join(f'"{one}"' for one in near)
        remedy = f"Did you mean {choices}?"
    return QuestionError(f'{what} "{name}" is not known', remedy=remedy)


def plain(value: Any) -> Any:
    """What YAML made of a text, as JSON has it: days and times are texts."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def _instant(text: str | None, zone: ZoneInfo) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise QuestionError(
            f'"{text}" is no day or time', remedy="Write 2026-11-02 or 2026-11-02T13:00+01:00."
        ) from None
    return in_zone(at, zone)

"""How good the stitching is: who is identified, what was joined by what, what was refused, what looks wrong."""

# ruff: noqa: S608  the SQL is put together from pieces of ours; values are bound

from typing import NamedTuple

from sqlalchemy import Engine, text

from models.identifier import ANONYMOUS_KINDS
from models.journey_model import JourneyModel, default_model
from warehouse.answer import Answer, ask

_LISTED = 20
_SHARED_BY = 5  # so many others hang on one identifier
_REFUSED_TWICE = 2
_LEAST_TOUCHPOINTS = 100
_ONE_PER_TOUCHPOINT = 0.9


class IdentityReport(NamedTuple):
    """The parts of the report. A *named* identifier is of a kind that names a person and not a browser, an app or
    a visit: any but device_id, cookie_id, anonymous_id, session_id.

    `totals`, one row: touchpoints; identified_rate, the share whose customer has a named identifier; named_rate,
    the share that carries one itself, which is what there would be without stitching; customers_before, distinct
    strongest identifiers of touchpoints; customers, after stitching; identifiers; households; refused links;
    decisions that hold; oversized, households beyond `max_household`.
    `links`, by kinds of the stronger and the weaker identifier: joined and refused (distinct pairs), seen (times).
    `conflicts`, refused links by reason and kinds: links, customers (pairs kept apart), latest_at.
    `households`, by number of identifiers: size, households, identifiers, customers.
    `largest`, the largest households: household_id, identifiers, customers, oversized.
    `kinds`, by source and kind: touchpoints that carry it, identifiers (distinct), touchpoints_each,
    one_per_touchpoint (a browser's or visit's id that hardly ever comes again: likely made anew per page load).
    `shared`, identifiers that many others hang on, as a switchboard's number or a shared device: identifier,
    others (stronger, or named ones), refused, customers (of all of them), touchpoints.
    `nameless`: what named nobody: found (detail of the rejection, or a placeholder that came in), source, times.
    """

    totals: Answer
    links: Answer
    conflicts: Answer
    households: Answer
    largest: Answer
    kinds: Answer
    shared: Answer
    nameless: Answer


def identity_report(connection: Engine, *, model: JourneyModel | None = None) -> IdentityReport:
    """The report over all that the warehouse holds."""
    model = model or default_model()
    anonymous = list(ANONYMOUS_KINDS)
    kinds = list(model.identifier_kinds)
    most = model.max_household
    placeholders = sorted(model.placeholders)
    return IdentityReport(
        ask(connection, text(_TOTALS), {"anonymous": anonymous, "kinds": kinds, "most": most}),
        ask(connection, text(_LINKS), {"kinds": kinds}),
        ask(connection, text(_CONFLICTS)),
        ask(connection, text(_HOUSEHOLDS), {"most": most}),
        ask(connection, text(_LARGEST), {"most": most, "listed": 5}),
        ask(
            connection,
            text(_KINDS),
            {"anonymous": anonymous, "least": _LEAST_TOUCHPOINTS, "rate": _ONE_PER_TOUCHPOINT},
        ),
        ask(
            connection,
            text(_SHARED),
            {
                "anonymous": anonymous, "kinds": kinds, "others": _SHARED_BY, "refused": _REFUSED_TWICE,
                "listed": _LISTED,
            },
        ),
        ask(connection, text(_NAMELESS), {"placeholders": placeholders, "listed": _LISTED}),
    )  # fmt: skip


def _kind(of: str) -> str:
    return f"substring({of}, 1, position({of}, ':') - 1)"


# by the model's order of kinds, one that it does not name last; then by the value
_PLACE = f"if(has(:kinds, {_kind('one')}), indexOf(:kinds, {_kind('one')}), 1000)"
_STRONGEST = f"arraySort(one -> ({_PLACE}, one), identifiers)[1]"
_NAMED = f"not has(:anonymous, {_kind('identifier')})"

_TOTALS = f"""
select touchpoints, if(touchpoints = 0, 0, identified / touchpoints) as identified_rate,
       if(touchpoints = 0, 0, named / touchpoints) as named_rate, customers_before, customers, identifiers,
       households, refused, decisions, oversized
from (
    select count() as touchpoints,
           countIf(customer_id in (select customer_id from identities where {_NAMED})) as identified,
           countIf(arrayExists(identifier -> {_NAMED}, identifiers)) as named,
           uniqExact({_STRONGEST}) as customers_before, uniqExact(customer_id) as customers
    from touchpoints
) as t,
(
    select sum(size) as identifiers, count() as households, countIf(size > :most) as oversized
    from (select household_id, count() as size from identities group by household_id)
) as h,
(select count() as refused from identity_conflicts) as c,
(select countIf(holds) as decisions from identity_corrections) as d
"""
# every pair of a touchpoint's or an identification's strongest identifier with another one
_PAIRS = f"""
select a, b, count() as seen from (
    select {_STRONGEST} as a, arrayJoin(identifiers) as b from touchpoints where length(identifiers) > 1
    union all
    select {_STRONGEST} as a, arrayJoin(identifiers) as b from identification_rows final
    where kind = 'identification'
)
where a != b
group by a, b
"""
_LINKS = f"""
select {_kind("a")} as kind_a, {_kind("b")} as kind_b, countIf(of_a.customer_id = of_b.customer_id) as joined,
       countIf(of_a.customer_id != of_b.customer_id) as refused, sum(pairs.seen) as seen
from ({_PAIRS}) as pairs
join identities as of_a on of_a.identifier = pairs.a
join identities as of_b on of_b.identifier = pairs.b
group by kind_a, kind_b
order by joined desc, kind_a, kind_b
"""
_CONFLICTS = f"""
select reason, {_kind("identifier_a")} as kind_a, {_kind("identifier_b")} as kind_b, count() as links,
       uniqExact(customer_a, customer_b) as customers, max(at) as latest_at
from identity_conflicts
group by reason, kind_a, kind_b
order by links desc, reason, kind_a, kind_b
"""
_HOUSEHOLDS = """
select multiIf(least = 0, concat('beyond ', toString(:most)), least = 1, '1',
               concat('up to ', toString(least))) as size,
       count() as households, sum(members) as identifiers, sum(customers) as customers
from (
    select count() as members, uniqExact(customer_id) as customers,
           arrayFilter(size -> size >= members and size < :most, [1, 2, 5, 10, 100, 1000])[1] as small,
           if(small > 0, small, if(members <= :most, :most, 0)) as least
    from identities group by household_id
)
group by least
order by min(members)
"""
_LARGEST = """
select household_id, count() as identifiers, uniqExact(customer_id) as customers,
       toBool(identifiers > :most) as oversized
from identities
group by household_id having identifiers > 1
order by identifiers desc, household_id limit :listed
"""
_KINDS = f"""
select source, kind, touchpoints, different as identifiers, round(touchpoints / different, 2) as touchpoints_each,
       toBool(has(:anonymous, kind) and touchpoints >= :least and different >= :rate * touchpoints)
           as one_per_touchpoint
from (
    select source, {_kind("identifier")} as kind, count() as touchpoints, uniqExact(identifier) as different
    from touchpoints array join identifiers as identifier
    group by source, kind
)
order by one_per_touchpoint desc, source, kind
"""
_SHARED = f"""
select identifier, count() as others, countIf(own.customer_id != of_other.customer_id) as refused,
       uniqExact(of_other.customer_id) as customers, sum(sides.seen) as touchpoints
from (
    select b as identifier, a as other, seen from ({_PAIRS})
    union all
    select a as identifier, b as other, seen from ({_PAIRS}) where not has(:anonymous, {_kind("b")})
) as sides
join identities as own on own.identifier = sides.identifier
join identities as of_other on of_other.identifier = sides.other
group by sides.identifier as identifier
having others >= :others or refused >= :refused
order by refused desc, others desc, identifier limit :listed
"""
_NAMELESS = """
select found, source, times from (
    select detail as found, toString(source) as source, count() as times from rejected_touchpoints
    where reason = 'missing_identity' group by found, source
    union all
    select identifier as found, toString(source) as source, count() as times
    from touchpoints array join identifiers as identifier
    where has(:placeholders, lower(substring(identifier, position(identifier, ':') + 1)))
    group by found, source
)
order by times desc, found, source limit :listed
"""

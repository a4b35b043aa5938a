"""One identity: the customer behind an identifier, what they go by and why, what was refused, who decided what."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import Engine, select, text

from models.identifier import KINDS, IdentifierOrder, normalise
from models.journey_model import JourneyModel, default_model
from warehouse import views
from warehouse.answer import Answer, QuestionError, answer, ask
from warehouse.plain import records

Pair = tuple[str, str]

_NEAREST = 3


class Identity(NamedTuple):
    """What is known of an identifier.

    `summary`, one row: identifier, customer_id, household_id, identifiers and touchpoints and journeys of the
    customer, household_identifiers, household_customers, oversized (the household has more identifiers than
    `max_household`, so that links join nothing in it).
    `identifiers`, a row for each of the household, the customer's first: identifier, kind, customer_id,
    first_linked_at (NaT: never seen with another), and what joined it to its customer: joined_at, joined_with,
    joined_by (channel and type of a touchpoint, reason of an identification, `same by AUTHOR`; empty: nothing).
    `conflicts`, links that were refused at an identifier of the customer: at, identifier_a, identifier_b, reason,
    customer_a, customer_b.
    `decisions`, those about the household that hold: at, relation, identifier_a, identifier_b, author, reason, id.
    """

    summary: Answer
    identifiers: Answer
    conflicts: Answer
    decisions: Answer


def identity(connection: Engine, identifier: str, *, model: JourneyModel | None = None) -> Identity:
    """All about an identifier, given as `kind:value` or as the value alone. QuestionError as `find`."""
    model = model or default_model()
    key = find(connection, identifier, model=model)
    binds = {"key": key, "most": model.max_household}
    summary = ask(connection, text(_SUMMARY), binds)
    household, customer = str(summary["household_id"][0]), str(summary["customer_id"][0])
    decided = decisions(connection, household=household)
    c = views.identity_conflicts.c
    conflicts = ask(
        connection,
        select(c.at, c.identifier_a, c.identifier_b, c.reason, c.customer_a, c.customer_b)
        .where((c.customer_a == customer) | (c.customer_b == customer))
        .order_by(c.at, c.identifier_a, c.identifier_b),
    )
    return Identity(
        summary, _identifiers(connection, household, customer, decided, model), conflicts, decided
    )


def find(connection: Engine, identifier: str, *, model: JourneyModel | None = None) -> str:
    """The `kind:value` that is meant: as it was sent, in its normal form, or by its value alone.

    QuestionError if a value is that of several kinds, or if nobody goes by it: then it names the nearest.
    """
    model = model or default_model()
    i = views.identities.c
    written = spellings(identifier, model)
    # the value alone is looked for under each kind, so that the key of the table finds it
    guesses = [spelling for kind in KINDS for spelling in spellings(f"{kind}:{identifier}", model)]
    for named in (written, guesses):
        found = ask(connection, select(i.identifier).where(i.identifier.in_(named)).distinct())
        keys = sorted((str(key) for key in found["identifier"]), key=IdentifierOrder().rank)
        if len(keys) > 1 and named is guesses:
            raise QuestionError(
                f'"{identifier}" is the value of {len(keys)} identifiers: {", ".join(keys[:5])}',
                remedy="Write kind:value.",
            )
        if keys:
            return keys[-1] if identifier not in keys else identifier
    raise unknown(connection, identifier)


def unknown(connection: Engine, identifier: str) -> QuestionError:
    """The error that nobody goes by an identifier, with the nearest that somebody goes by."""
    kind, colon, value = identifier.partition(":")
    near = ask(
        connection, text(_NEAR), {"value": value if colon and kind in KINDS else identifier, "most": _NEAREST}
    )
    names = [str(name) for name in near["identifier"]]
    remedy = "Write kind:value, e.g. email:ada@example.com or phone:+442079460000."
    if names:
        remedy = f"Did you mean {' or '.join(names)}?"
    return QuestionError(f'nobody goes by "{identifier}"', remedy=remedy)


def owners(connection: Engine, identifiers: Iterable[str]) -> Answer:
    """The customers that these identifiers belong to. Columns: customer_id, identifiers, touchpoints, journeys."""
    return ask(connection, text(_OWNERS), {"keys": list(identifiers)})


def settling(connection: Engine, before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether touchpoints or journeys of customers are yet to follow the identifiers from one to another.

    `before`, `after`: the customers that the identifiers belonged to, and belong to now. Identifiers change first;
    touchpoints of a household in another partition come after them, and journeys after the touchpoints.
    """
    gone = [customer for customer in before if customer not in set(after)]
    binds = {"gone": gone, "customers": [*after]}
    return int(ask(connection, text(_UNSETTLED), binds)["unsettled"][0]) > 0


def refused(connection: Engine, pair: Pair) -> bool:
    """Whether somebody's decision keeps these two apart, whatever else was seen or decided."""
    c = views.identity_conflicts.c
    of_pair = c.identifier_a.in_(pair), c.identifier_b.in_(pair)
    return len(ask(connection, select(c.at).where(*of_pair, c.reason == "not_same"))) > 0


def decisions(connection: Engine, *, household: str | None = None, all: bool = False) -> Answer:
    """What people decided, in order; of several about two identifiers the one that holds, or `all`.

    Columns: at, relation (same, not_same, undone), identifier_a, identifier_b, author, reason, holds, id.
    """
    d, i = views.identity_corrections.c, views.identities.c
    question = select(d.at, d.relation, d.identifier_a, d.identifier_b, d.author, d.reason, d.holds, d.id)
    if household is not None:
        of_household = select(i.identifier).where(i.household_id == household)
        question = question.where(d.identifier_a.in_(of_household))
    if not all:
        question = question.where(d.holds)
    return ask(connection, question.order_by(d.at, d.id))


def parts(found: Any) -> dict[str, Any]:
    """An `Identity` or an `IdentityReport` as JSON has it: the part of one row as an object, the others as lists."""
    first, *others = found._asdict().items()
    return {first[0]: records(first[1])[0], **{name: records(part) for name, part in others}}


class _Link(NamedTuple):
    """Two identifiers seen together for the first time, or decided to be the same."""

    decided: bool
    at: Any
    a: str
    b: str
    how: str


def _identifiers(
    connection: Engine, household: str, customer: str, decided: pd.DataFrame, model: JourneyModel
) -> Answer:
    """The identifiers of a household, each with the first link that holds it to its customer."""
    i = views.identities.c
    found = ask(
        connection, select(i.identifier, i.customer_id, i.first_linked_at).where(i.household_id == household)
    )
    customer_of = dict(zip(found["identifier"], found["customer_id"], strict=True))
    first: dict[str, _Link] = {}
    for link in sorted(
        _links(connection, household, decided, model), key=lambda one: (not one.decided, *one[1:])
    ):
        if customer_of.get(link.a) == customer_of.get(link.b) is not None:
            first.setdefault(link.a, link)
            first.setdefault(link.b, link)
    rank = model.identifier_order.rank
    rows = []
    for key, owner, linked_at in sorted(
        found.itertuples(index=False, name=None),
        key=lambda row: (row[1] != customer, rank(row[1]), rank(row[0])),
    ):
        by = first.get(key)
        rows.append(
            {
                "identifier": key,
                "kind": key.partition(":")[0],
                "customer_id": owner,
                "first_linked_at": linked_at,
                "joined_at": by.at if by else pd.NaT,
                "joined_with": (by.b if by.a == key else by.a) if by else "",
                "joined_by": by.how if by else "",
            }
        )
    return answer(pd.DataFrame(rows), found.sql(), found.watermark)


def _links(connection: Engine, household: str, decided: pd.DataFrame, model: JourneyModel) -> list[_Link]:
    rank = model.identifier_order.rank
    seen = ask(connection, text(_SEEN_TOGETHER), {"household": household})
    links = [
        _Link(False, at, strongest, other, how)
        for at, together, how in seen.itertuples(index=False, name=None)
        for strongest in [min(together, key=rank)]
        for other in together
        if other != strongest
    ]
    links += [
        _Link(True, row.at, str(row.identifier_a), str(row.identifier_b), f"same by {row.author}")
        for row in decided.itertuples(index=False)
        if row.relation == "same"
    ]
    return links


def spellings(identifier: str, model: JourneyModel) -> Sequence[str]:
    """The identifier as it is written, and as it is kept: email:Ada@Example.com is email:ada@example.com."""
    kind, colon, value = identifier.partition(":")
    if not colon or kind not in KINDS:
        return [identifier]
    normal = normalise(kind, value, model)
    return [identifier, *([normal.key] if normal else [])]


_SUMMARY = """
with (select (customer_id, household_id) from identities where identifier = :key limit 1) as owner
select :key as identifier, owner.1 as customer_id, owner.2 as household_id,
       identifiers, touchpoints, journeys, household_identifiers, household_customers,
       toBool(household_identifiers > :most) as oversized
from (
    select countIf(customer_id = owner.1) as identifiers, count() as household_identifiers,
           uniqExact(customer_id) as household_customers
    from identities where household_id = owner.2
) as i,
(select sum(length(types)) as touchpoints, count() as journeys from journeys where customer_id = owner.1) as j
"""
_UNSETTLED = """
select (select count() from touchpoints where has(:gone, customer_id))
     + (select count() from journeys where has(:gone, customer_id))
     + (select count() from touchpoints where has(:customers, customer_id) and journey_id not in (
            select journey_id from journeys where has(:customers, customer_id)
        )) as unsettled
"""

_OWNERS = """
select i.customer_id as customer_id, i.identifiers as identifiers, j.touchpoints as touchpoints,
       j.journeys as journeys
from (
    select customer_id, groupArray(identifier) as identifiers
    from (select customer_id, identifier from identities order by identifier)
    where customer_id in (select customer_id from identities where has(:keys, identifier))
    group by customer_id
) as i
left join (
    select customer_id, sum(length(types)) as touchpoints, count() as journeys from journeys
    where customer_id in (select customer_id from identities where has(:keys, identifier))
    group by customer_id
) as j on i.customer_id = j.customer_id
order by customer_id
"""
_SEEN_TOGETHER = """
select min(seen_at) as at, together, how
from (
    select occurred_at as seen_at, identifiers as together, concat(channel, ' ', type) as how
    from touchpoints
    where customer_id in (select customer_id from identities where household_id = :household)
    union all
    select at as seen_at, identifiers as together,
           if(JSONHas(element, 'reason'), JSONExtractString(element, 'reason'), 'identify') as how
    from identification_rows final
    where kind = 'identification'
      and hasAny(identifiers, (select groupArray(identifier) from identities where household_id = :household))
)
where length(together) > 1
group by together, how
"""
_NEAR = """
select identifier from (
    select identifier, lower(substring(identifier, position(identifier, ':') + 1)) as value, lower(:value) as wanted
    from identities
    where abs(toInt64(length(value)) - toInt64(length(wanted))) <= greatest(1, intDiv(length(wanted), 4))
)
where damerauLevenshteinDistance(value, wanted) <= greatest(1, intDiv(length(wanted), 4))
order by damerauLevenshteinDistance(value, wanted), identifier limit :most
"""

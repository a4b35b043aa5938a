"""The rows of one customer, read where they lie together.

Touchpoints and identifiers are kept once more in the order of customers and households (`schema.PROJECTIONS`).
There stands every version of a row that ever named the customer; whether it still counts is said by the rows
that are keyed: the journeys, which list their touchpoints, and the identifiers. So no row is believed that has
gone to somebody else, and none is read that is another's.
"""

# ruff: noqa: S608  the SQL is put together from names of ours; values are bound

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from warehouse.answer import said
from warehouse.binds import Binds

Row = dict[str, Any]

_TOUCHPOINT = (
    "occurred_on, id, deleted, occurred_at, ordinal, channel, type, identifiers, outcome, queue, amount, currency,"
    " phase, phase_move, journey_id, transaction_id, weight, pain_kinds, pain_severities, delight_kinds,"
    " attempt_kinds, attempt_outcomes, attempt_ended_ats, attempt_recovered_ats, drop_off_at,"
    " drop_off_recovered_at, drop_off_pain_kind"
)
_JOURNEY = (
    "started_on, id, deleted, customer_id, journey_id, started_at, ended_at, touchpoint_ids,"
    " arrayDistinct(phases) as through_phases, current_phase, furthest_phase, converted_at, conversions,"
    " campaign_first, persona, pain_points, delights, attempts_abandoned, drop_off_at, recoveries, closed,"
    " `values`, shape, paved_path_distance"
)


class Identities(NamedTuple):
    """What is known of a customer's identifiers.

    `names`: identifier and first_linked_at of each; `seen`, identifications and corrections that name one of
    them: id, at, kind, identifiers, author, reason; `refused`: links that were refused at one of them.
    """

    names: list[Row]
    seen: list[Row]
    refused: list[Row]


def owners(connection: Engine, identifiers: Sequence[str]) -> list[Row]:
    """Whom these belong to, of those that somebody goes by: identifier, customer_id, household_id."""
    binds = Binds()
    return rows(
        connection,
        f"select identifier, customer_id, household_id from identity_rows where identifier in"
        f" {_listed(identifiers, binds)} order by version desc limit 1 by identifier",
        binds,
    )


def touchpoints_and_journeys(connection: Engine, customer: str) -> tuple[list[Row], list[Row], str]:
    """The customer's touchpoints and journeys, in order, and the SQL of the touchpoints."""
    binds = Binds()
    question = (
        f"select {_TOUCHPOINT} from touchpoint_rows where customer_id = {binds.bound(customer)}"
        " order by version desc, deleted limit 1 by id"
    )
    candidates = [row for row in rows(connection, question, binds) if not row["deleted"]]
    # a journey's row has the key of its first touchpoint
    first = [(row["occurred_on"], row["id"]) for row in candidates if row["ordinal"] == 1]
    journeys = _journeys(connection, customer, first)
    counted = {one for journey in journeys for one in journey["touchpoint_ids"]}
    story = sorted(
        (row for row in candidates if row["id"] in counted), key=lambda row: (row["occurred_at"], row["id"])
    )
    return story, journeys, said(text(question), binds)


def identities(connection: Engine, customer: str, household: str) -> Identities:
    """The customer's identifiers, and what joined them or was kept from joining them."""
    binds = Binds()
    every = rows(
        connection,
        "select identifier, customer_id, first_linked_at from identity_rows where identifier in"
        f" (select identifier from identity_rows where household_id = {binds.bound(household)})"
        " order by version desc limit 1 by identifier",
        binds,
    )
    names = [row for row in every if row["customer_id"] == customer]
    keys = [row["identifier"] for row in names]
    binds = Binds()
    seen = rows(
        connection,
        "select id, at, kind, identifiers, JSONExtractString(element, 'author') as author,"
        " JSONExtractString(element, 'reason') as reason"
        f" from identification_rows where hasAny(identifiers, {_array(keys, binds)}) limit 1 by id",
        binds,
    )
    binds = Binds()
    listed = _listed(keys, binds)
    refused = rows(
        connection,
        "select at, identifier_a, identifier_b, reason, customer_a, customer_b, deleted from identity_conflict_rows"
        f" where identifier_a in {listed} or identifier_b in {listed}"
        " order by version desc limit 1 by identifier_a, identifier_b",
        binds,
    )
    return Identities(names, seen, [row for row in refused if not row["deleted"]])


def rows(connection: Engine, question: str, binds: Binds) -> list[Row]:
    """The rows of an answer, each by the names of its columns; instants are those of UTC."""
    with connection.connect() as asking:
        result = asking.execute(text(question), binds)
        names = list(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result]


def _journeys(connection: Engine, customer: str, keys: Iterable[tuple[date, str]]) -> list[Row]:
    binds = Binds()
    listed = [f"(toDate({binds.bound(day.isoformat())}), {binds.bound(id_)})" for day, id_ in keys]
    if not listed:
        return []
    found = rows(
        connection,
        f"select {_JOURNEY} from journey_rows where (started_on, id) in ({', '.join(listed)})"
        " order by version desc limit 1 by started_on, id",
        binds,
    )
    current = (row for row in found if not row["deleted"] and row["customer_id"] == customer)
    return sorted(current, key=lambda row: (row["started_at"], row["id"]))


def _listed(values: Iterable[str], binds: Binds) -> str:
    return f"({', '.join(binds.bound(value) for value in values) or chr(39) * 2})"


def _array(values: Iterable[str], binds: Binds) -> str:
    return f"[{', '.join(binds.bound(value) for value in values)}]"

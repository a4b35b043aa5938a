"""The rows of one customer, read where they lie together.

Touchpoints and identifiers are kept once more in the order of customers and households (`schema.PROJECTIONS`).
There stands every version of a row that ever named the customer; whether it still counts is said by the rows
that are keyed: the journeys, which list their touchpoints, and the identifiers. So no row is believed that has
gone to somebody else, and none is read that is another's.
"""

# ruff: noqa: S608  the SQL is put together from names of ours; values are bound

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Executable, String, func, select, text

from warehouse.answer import said
from warehouse.asker import at_once
from warehouse.binds import Binds
from warehouse.schema import identification_rows, identity_conflict_rows

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
    " `values`, shape, paved_path_distance, version"
)


class Identities(NamedTuple):
    """What is known of a customer's identifiers.

    `names`: identifier and first_linked_at of each; `seen`, identifications and corrections that name one of
    them: id, at, kind, identifiers, author, reason; `refused`: links that were refused at one of them.
    """

    names: list[Row]
    seen: list[Row]
    refused: list[Row]


def named(connection: Engine, identifiers: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Whom these belong to, of those that somebody goes by, and the same of all identifiers of their households:
    identifier, customer_id, household_id, first_linked_at.
    """
    binds = Binds()
    every = rows(
        connection,
        "select identifier, customer_id, household_id, first_linked_at, version from identity_rows"
        " where identifier in (select identifier from identity_rows where household_id in"
        f" (select household_id from identity_rows where identifier in {_listed(identifiers, binds)}))",
        binds,
    )
    latest = _latest(every, "identifier")
    return [row for row in latest if row["identifier"] in identifiers], latest


def touchpoints_and_journeys(connection: Engine, customer: str) -> tuple[list[Row], list[Row], str]:
    """The customer's touchpoints and journeys, in order, and the SQL of the touchpoints."""
    binds = Binds()
    of_customer = f"from touchpoint_rows where customer_id = {binds.bound(customer)}"
    question = f"select {_TOUCHPOINT} {of_customer} order by version desc, deleted limit 1 by id"
    candidates, found = at_once(
        lambda: rows(connection, question, binds),
        # a journey's row has the key of its first touchpoint
        lambda: rows(
            connection,
            f"select {_JOURNEY} from journey_rows"
            f" where (started_on, id) in (select occurred_on, id {of_customer} and ordinal = 1)",
            binds,
        ),
    )
    journeys = sorted(
        (row for row in _latest(found, "started_on", "id") if row["customer_id"] == customer),
        key=lambda row: (row["started_at"], row["id"]),
    )
    counted = {one for journey in journeys for one in journey["touchpoint_ids"]}
    story = sorted(
        (row for row in candidates if not row["deleted"] and row["id"] in counted),
        key=lambda row: (row["occurred_at"], row["id"]),
    )
    return story, journeys, said(text(question), binds)


def identities(connection: Engine, names: list[Row]) -> Identities:
    """What joined a customer's identifiers, or was kept from joining them."""
    keys = [row["identifier"] for row in names]
    # not as text, of whose columns the driver would ask again where there are no rows, as mostly here
    i, c = identification_rows.c, identity_conflict_rows.c
    seeing = select(
        i.id, i.at, i.kind, i.identifiers, *(_said_in(i.element, name) for name in ("author", "reason"))
    ).where(func.hasAny(i.identifiers, func.array(*keys)))
    refusing = select(
        c.at, c.identifier_a, c.identifier_b, c.reason, c.customer_a, c.customer_b, c.deleted, c.version
    ).where(c.identifier_a.in_(keys) | c.identifier_b.in_(keys))
    seen, refused = at_once(lambda: _rows(connection, seeing), lambda: _rows(connection, refusing))
    return Identities(
        names,
        list({row["id"]: row for row in seen}.values()),
        _latest(refused, "identifier_a", "identifier_b"),
    )


def rows(connection: Engine, question: str, binds: Binds) -> list[Row]:
    """The rows of an answer, each by the names of its columns; instants are those of UTC."""
    return _rows(connection, text(question), binds)


def _rows(connection: Engine, question: Executable, binds: Mapping[str, Any] | None = None) -> list[Row]:
    with connection.connect() as asking:
        result = asking.execute(question, binds or {})
        names = list(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result]


def _said_in(element: ColumnElement[str], name: str) -> ColumnElement[str]:
    return func.JSONExtractString(element, name, type_=String).label(name)


def _latest(versions: Iterable[Row], *key: str) -> list[Row]:
    """Of each key the row that counts, unless it is deleted."""
    latest = {
        tuple(row[name] for name in key): row for row in sorted(versions, key=lambda row: int(row["version"]))
    }
    return [row for row in latest.values() if not row.get("deleted")]


def _listed(values: Iterable[str], binds: Binds) -> str:
    return f"({', '.join(binds.bound(value) for value in values) or chr(39) * 2})"

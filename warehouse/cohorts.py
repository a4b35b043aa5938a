"""Cohorts: saved definitions of who belongs together, used as a filter by every analysis.

The warehouse keeps them, so that command line, HTTP and notebooks see the same. What is kept is the definition and
never its members: these are looked for whenever a question is asked.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, select, text

from warehouse import journey_names, views
from warehouse.answer import Answer, QuestionError, ask
from warehouse.binds import Binds
from warehouse.cohort_definition import (
    Campaign,
    Condition,
    Did,
    DidNot,
    Journey,
    Persona,
    not_known,
    parts,
    plain,
    read,
)
from warehouse.cohort_members import members as members_of
from warehouse.doings import doing
from warehouse.steps import check_names

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """A saved cohort. `watermark`: where the last days of its definition end; None: nothing has arrived yet."""

    name: str
    definition: Mapping[str, Any]
    author: str
    saved_at: datetime
    condition: Condition
    watermark: datetime | None

    def customers(self, binds: Binds) -> str:
        """SQL that selects the customer_id of each member."""
        return members_of(self.condition, binds, self.watermark)


def find(connection: Engine, name: str) -> Cohort:
    """The saved cohort of a name. QuestionError suggests the nearest."""
    c = views.cohorts.c
    found = ask(connection, select(c.definition, c.author, c.saved_at).where(c.name == name))
    if found.empty:
        raise not_known("cohort", name, {str(one) for one in cohorts(connection)["name"]})
    definition, author, saved_at = next(found.itertuples(index=False, name=None))
    said = msgspec.json.decode(definition)
    return Cohort(
        name=name,
        definition=said,
        author=author,
        saved_at=saved_at.to_pydatetime(),
        condition=read(said),
        watermark=found.watermark,
    )


def cohorts(connection: Engine) -> Answer:
    """All saved cohorts by name. Columns: name, author, saved_at, definition (JSON)."""
    c = views.cohorts.c
    return ask(connection, select(c.name, c.author, c.saved_at, c.definition).order_by(c.name))


def described(connection: Engine, name: str) -> Answer:
    """One cohort, in one row: name, author, saved_at, definition (JSON), customers (how many belong to it now).

    QuestionError as `find`.
    """
    c = views.cohorts.c
    question = select(c.name, c.author, c.saved_at, c.definition).where(c.name == name)
    customers = size(connection, name)
    found = ask(connection, question)
    found["customers"] = customers
    return found


def save(connection: Engine, name: str, definition: Any, *, author: str) -> Cohort:
    """Save a definition under a name, in place of what stood there; the connection is one that may write.

    QuestionError for a name that none can have, and for a definition that says what cannot be: then the
    nearest type, phase, persona or campaign is named.
    """
    if not _NAME.fullmatch(name):
        raise QuestionError(
            f'"{name}" is no name for a cohort',
            remedy="Write letters, digits, dots, hyphens and underscores, at most 64, e.g. loyal-2026.",
        )
    said = plain(definition)
    condition = read(said)
    _check(connection, condition)
    _write(connection, name, msgspec.json.encode(said).decode(), author, deleted=False)
    return find(connection, name)


def delete(connection: Engine, name: str, *, author: str) -> None:
    """Delete a cohort; the connection is one that may write. QuestionError if there is none of this name."""
    find(connection, name)
    _write(connection, name, "", author, deleted=True)


def size(connection: Engine, name: str) -> int:
    """How many customers belong to it now. QuestionError as `find`."""
    binds = Binds()
    members = find(connection, name).customers(binds)
    return int(ask(connection, text(f"select count() as members from ({members})"), binds)["members"][0])  # noqa: S608


def members(connection: Engine, name: str, *, most: int = 1_000) -> Answer:
    """Who belongs to it now, at most so many, by customer_id. QuestionError as `find`.

    Columns: customer_id, journeys, touchpoints, first_at, last_at.
    """
    binds = Binds()
    chosen = find(connection, name).customers(binds)
    question = f"""
        select customer_id, count() as journeys, sum(length(ats)) as touchpoints,
               min(started_at) as first_at, max(ended_at) as last_at
        from journeys where customer_id in ({chosen})
        group by customer_id order by customer_id limit {binds.bound(most)}"""  # noqa: S608
    return ask(connection, text(question), binds)


def _check(connection: Engine, condition: Condition) -> None:
    """QuestionError if a definition names what the warehouse does not know."""
    all_ = list(parts(condition))
    steps = [one.taken for one in all_ if isinstance(one, Did | DidNot)]
    outcomes = [one.journey for one in all_ if isinstance(one, Journey)]
    phases = {
        name
        for one in outcomes
        for name in (one.dropped_off_in, one.current_phase, one.furthest_phase)
        if name is not None
    }
    check_names(connection, [*steps, *(doing({"phase": name}) for name in sorted(phases))])
    journey_names.check_names(
        connection, "persona", sorted({p.persona for p in all_ if isinstance(p, Persona)})
    )
    journey_names.check_names(
        connection, "campaign", sorted({c.campaign for c in all_ if isinstance(c, Campaign)})
    )


def _write(connection: Engine, name: str, definition: str, author: str, *, deleted: bool) -> None:
    now = time.time_ns()
    values = {
        "name": name,
        "definition": definition,
        "author": author,
        "saved_at": f"{datetime.fromtimestamp(now / 1e9, UTC):%Y-%m-%d %H:%M:%S}.{now // 1_000_000 % 1_000:03}",
        "now": now,
        "deleted": int(deleted),
    }
    with connection.connect() as writing:
        writing.execute(text(_INSERT), values)


# a clock that was set back makes no save of today older than one of tomorrow
_INSERT = """
insert into cohort_rows (name, definition, author, saved_at, version, deleted)
settings insert_distributed_sync = 1
select :name, :definition, :author, toDateTime64(:saved_at, 3, 'UTC'),
       greatest(toUInt64(:now), (select max(version) from cohort_rows where name = :name) + 1), :deleted
"""

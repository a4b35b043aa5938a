"""One customer's whole story, whichever of their identifiers is given."""

from typing import Annotated, Any

from sqlalchemy import Engine
from typing_extensions import Doc, Unpack

from models.identifier import KINDS
from models.journey_model import JourneyModel
from warehouse import customer_levels, customer_links
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, Parts, QuestionError, answer, utc
from warehouse.asker import at_once
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.customer_rows import Row, identities, named, rows, touchpoints_and_journeys
from warehouse.identities import spellings, unknown
from warehouse.scope import NOT, Scope

_HIDDEN = (
    "outcome", "phase_move", "delights", "amount", "drop_off_at", "queue", "currency", "journey_id",
    "transaction_id", "id", "phases", "current_phase", "ended_at", "paved_path_distance", "paved_path_steps",
    "converted_at", "persona", "attempts_abandoned", "recoveries", "closed",
    "shape", "household_id", "types", "touchpoint_id", "opened_id", "recovered_at", "conversation_id",
)  # fmt: skip


@analysis("customer", hidden=_HIDDEN)
def customer(
    connection: Engine,
    identifier: Annotated[str, Doc("Any identifier: `user_id:42`, `email:a@b.org`, or its value.")],
    **among: Unpack[Among],
) -> Answer:
    """One customer's whole story, whichever of their identifiers is given.

    One row per touchpoint, in order. Columns: occurred_at, channel, type, outcome, phase, phase_move, emotion
    (−1…1), pain_points and delights (kinds), attempts (opened at it: kind and outcome), drop_off_at (NaT: none
    followed), queue, amount (Decimal, major units), currency, journey_id, transaction_id, id. The period is of
    the touchpoint's time; persona and campaign choose journeys, and a cohort leaves nothing of whoever is not in
    it.

    Parts, from the whole to its places: `customer`, the life cycle as one record; `journeys`, `transactions`;
    `attempts`, `pain_points`, `drop_offs`; and how the identities were joined, whatever the period:
    `identifiers`, each with what joined it, `links`, `corrections` by people, `conflicts` (refused links).
    QuestionError if nobody goes by the identifier (with the nearest), or more than one customer (with all).
    """
    scope = scope_of(connection, among)
    model = model_of(connection)
    owner, household, names = _found(connection, identifier, model)
    (story, journeys, said), known = at_once(
        lambda: touchpoints_and_journeys(connection, owner), lambda: identities(connection, names)
    )
    story, journeys = _chosen(connection, owner, story, journeys, scope)
    order = model.identifier_order
    return answer(
        customer_levels.touchpoints(story),
        said,
        watermark(connection),
        measures=Measures(keys=("id",), certain=("emotion",)),
        parts=Parts(
            customer=lambda: {
                "customer_id": owner,
                "household_id": household,
                "identifiers": len(known.names),
                **customer_levels.life_cycle(story, journeys),
            },
            journeys=lambda: customer_levels.journeys(journeys),
            transactions=lambda: customer_levels.transactions(story),
            attempts=lambda: customer_levels.attempts(story),
            pain_points=lambda: customer_levels.pain_points(story),
            drop_offs=lambda: customer_levels.drop_offs(story),
            identifiers=lambda: customer_links.identifiers(story, known, order),
            links=lambda: customer_links.links(story, known, order),
            corrections=lambda: customer_links.corrections(known),
            conflicts=lambda: customer_links.conflicts(known),
        ),
        noun="touchpoints",
    )


def customer_of(connection: Engine, identifier: str) -> str:
    """The customer that an identifier belongs to, as it was sent or in its normal form.

    QuestionError if nobody, or more than one, goes by it.
    """
    return _found(connection, identifier, model_of(connection))[0]


def _found(connection: Engine, identifier: str, model: JourneyModel) -> tuple[str, str, list[Row]]:
    """The customer and the household of an identifier, and all that the customer goes by.

    It is read as `kind:value`, else as a value of whatever kind. QuestionError if nobody, or more than one, goes by
    it.
    """
    hits: list[Row] = []
    if ":" in identifier:
        hits, related = named(connection, spellings(identifier, model))
    if not hits:
        kinds = dict.fromkeys((*model.identifier_kinds, *KINDS))
        # a value is looked for under each kind, so that the key of the table finds it
        spelled = [spelling for kind in kinds for spelling in spellings(f"{kind}:{identifier}", model)]
        hits, related = named(connection, spelled)
    customers = {row["customer_id"]: row["household_id"] for row in hits}
    if len(customers) > 1:
        listed = ", ".join(f"{row['identifier']} ({row['customer_id']})" for row in _in_order(hits))
        raise QuestionError(
            f'"{identifier}" names {len(customers)} customers: {listed}', remedy="Write kind:value."
        )
    if not customers:
        raise unknown(connection, identifier)
    owner, household = customers.popitem()
    return owner, household, [row for row in related if row["customer_id"] == owner]


def _in_order(hits: list[Row]) -> list[Row]:
    return sorted(hits, key=lambda row: str(row["identifier"]))


def _chosen(
    connection: Engine, owner: str, story: list[Row], journeys: list[Row], scope: Scope
) -> tuple[list[Row], list[Row]]:
    """What of it lies in the scope: journeys that were chosen and have a touchpoint in the period."""
    if not _member(connection, owner, scope):
        return [], []
    wanted = {"persona": scope.persona, "campaign_first": scope.campaign}
    kept = {
        journey["journey_id"]
        for journey in journeys
        if all(name is None or _is(journey[column], name) for column, name in wanted.items())
    }
    story = [t for t in story if t["journey_id"] in kept and _in_period(t, scope)]
    seen = {t["journey_id"] for t in story}
    return story, [journey for journey in journeys if journey["journey_id"] in seen]


def _is(value: Any, wanted: str) -> bool:
    return bool(value != wanted.removeprefix(NOT)) if wanted.startswith(NOT) else bool(value == wanted)


def _in_period(touchpoint: Row, scope: Scope) -> bool:
    at = utc(touchpoint["occurred_at"])
    after = scope.since is None or at >= scope.since
    return after and (scope.until is None or at < scope.until)


def _member(connection: Engine, owner: str, scope: Scope) -> bool:
    if scope.cohort is None:
        return True
    binds = Binds()
    members = f"select {binds.bound(owner)} in ({scope.cohort.customers(binds)}) as member"
    return bool(rows(connection, members, binds)[0]["member"]) != scope.others_than_cohort

"""The arguments that every analysis takes, by the same names from Python, the command line and HTTP."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypedDict

from sqlalchemy import Engine
from typing_extensions import Doc

from warehouse.answer import check_range
from warehouse.blocks import left_out
from warehouse.cohorts import find
from warehouse.journey_names import check_names
from warehouse.scope import NOT, Scope, in_zone, time_zone


class Among(TypedDict, total=False):
    """The arguments that every analysis takes."""

    since: Annotated[datetime | None, Doc("From this time on: 2026-11-02, or 7d ago.")]
    until: Annotated[datetime | None, Doc("Before this time.")]
    timezone: Annotated[str, Doc("Time zone of days, and of times without one, e.g. Europe/Berlin.")]
    persona: Annotated[str | None, Doc("Only journeys of this persona; !NAME: of all others.")]
    campaign: Annotated[str | None, Doc("Only journeys that this campaign began; !NAME: all others.")]
    cohort: Annotated[str | None, Doc("Only customers of this saved cohort; !NAME: all others.")]
    compare: Annotated[
        str | None,
        Doc("Two of something beside each other: persona:A,B, campaign:A,B, cohort:A, before:DAY, period."),
    ]


def scope_of(connection: Engine, among: Mapping[str, Any]) -> Scope:
    """Check the arguments of a question, and find its cohort. QuestionError suggests the nearest names."""
    zone = time_zone(among.get("timezone") or "UTC")
    since, until = (in_zone(among.get(name), zone) for name in ("since", "until"))
    check_range(since, until)
    cohort: str | None = among.get("cohort")
    if left_out() is None:  # else it was asked before
        for kind in ("persona", "campaign"):
            if name := (among.get(kind) or "").removeprefix(NOT):
                check_names(connection, kind, [name])
    return Scope(
        since=since,
        until=until,
        timezone=zone.key,
        persona=among.get("persona"),
        campaign=among.get("campaign"),
        cohort=None if cohort is None else find(connection, cohort.removeprefix(NOT)),
        others_than_cohort=cohort is not None and cohort.startswith(NOT),
        left_out=left_out(),
    )

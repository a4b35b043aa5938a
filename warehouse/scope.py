"""What an analysis is asked of: a period, a time zone, and whose journeys.

A journey belongs to the persona seen last in it and to the campaign of its first touch; a cohort selects customers,
with all their journeys. What is written with `!` before it is everybody else.
"""

from collections.abc import Set
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from warehouse.answer import QuestionError, utc
from warehouse.binds import Binds
from warehouse.blocks import BLOCK

NOT = "!"


class Members(Protocol):
    """A cohort, as far as a question is concerned."""

    def customers(self, binds: Binds) -> str:
        """SQL that selects the customer_id of each member."""
        ...


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A checked `Among`: `since` ≤ t < `until`, instants with their zone; None: no bound, anybody."""

    since: datetime | None = None
    until: datetime | None = None
    timezone: str = "UTC"
    persona: str | None = None
    campaign: str | None = None
    cohort: Members | None = None
    others_than_cohort: bool = False
    left_out: int | None = None  # block of customers (see `warehouse.blocks`)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of days."""
        return ZoneInfo(self.timezone)

    @property
    def everybody(self) -> bool:
        """Whether nobody is left out, whatever the period."""
        of_all = self.persona is None and self.campaign is None and self.cohort is None
        return of_all and self.left_out is None

    def period(self, at: str, day: str | None, binds: Binds) -> list[str]:
        """SQL conditions that the column `at` lies in the period. `day`: the column of its day, UTC, in the
        key, so that what lies outside is not read.
        """
        conditions = []
        if self.since is not None:
            conditions.append(f"{at} >= {binds.bound(self.since)}")
            if day:
                conditions.append(f"{day} >= toDate({binds.bound(utc(self.since).date().isoformat())})")
        if self.until is not None:
            conditions.append(f"{at} < {binds.bound(self.until)}")
            if day:
                conditions.append(f"{day} <= toDate({binds.bound(utc(self.until).date().isoformat())})")
        return conditions

    def of_journeys(self, binds: Binds) -> list[str]:
        """SQL conditions on the columns of the view journeys: whose they are, whatever the period."""
        conditions = self._of_customers(binds)
        for column, wanted in (("persona", self.persona), ("campaign_first", self.campaign)):
            if wanted is not None:
                operator = "!=" if wanted.startswith(NOT) else "="
                conditions.append(f"{column} {operator} {binds.bound(wanted.removeprefix(NOT))}")
        return conditions

    def of_touchpoints(self, binds: Binds) -> list[str]:
        """The same on the columns of whatever has a journey_id and a customer_id (touchpoints, attempts, …)."""
        if self.persona is None and self.campaign is None:
            return self._of_customers(binds)
        chosen = " and ".join(self.of_journeys(binds))
        return [f"journey_id in (select journey_id from journeys where {chosen})"]  # noqa: S608

    def _of_customers(self, binds: Binds) -> list[str]:
        conditions = []
        if self.cohort is not None:
            operator = "not in" if self.others_than_cohort else "in"
            conditions.append(f"customer_id {operator} ({self.cohort.customers(binds)})")
        if self.left_out is not None:
            conditions.append(f"{BLOCK} != {binds.bound(self.left_out)}")
        return conditions


def where(*conditions: list[str]) -> str:
    """`where …` of all conditions; empty where there are none."""
    all_of_them = [f"({one})" for some in conditions for one in some]
    return f"where {' and '.join(all_of_them)}" if all_of_them else ""


def time_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. QuestionError suggests the nearest."""
    known = _time_zones()
    if name in known:
        return ZoneInfo(name)
    near = get_close_matches(name, sorted(known), n=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Write an IANA name, e.g. Europe/Berlin."
    raise QuestionError(f'time zone "{name}" is not known', remedy=remedy)


@cache
def _time_zones() -> Set[str]:
    """IANA names; they are files, and reading their folders takes longer than a small question."""
    return available_timezones()


def in_zone(at: datetime | None, zone: ZoneInfo) -> datetime | None:
    """What has no zone is meant in this one."""
    return at.replace(tzinfo=zone) if at is not None and at.tzinfo is None else at

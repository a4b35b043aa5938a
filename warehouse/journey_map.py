"""The journey map as data: what happens in each phase, on which channel, how it feels, and where people
stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import Date, Float32, UInt64
from sqlalchemy import ColumnElement, Engine, Select, column, func, literal_column, select, text

from models.journey_model import JourneyModel
from warehouse import views
from warehouse.alerts import alerts
from warehouse.answer import ask, between, utc
from warehouse.schema import INSTANT, WORD

CHANNEL_ORDER = ("web", "chat", "voice", "billing")


@dataclass(frozen=True)
class JourneyMap:
    """One map; every frame has a row per phase and what its name says; `touchpoints` and `phases` are in the
    model's order of phases.

    `touchpoints`: phase, channel, type, touchpoints, customers, emotion (mean, −1…1), emotion_p10,
    emotion_p90, place (mean place in the journey, from 1), moment_of_truth.
    `pain_points`: phase, kind, pain_points, customers, severity (mean, 0–1), hurt (sum of severities).
    `delights`: phase, kind, delights. `phases`: phase, journeys, journeys_forward, median_ms (time in the
    phase, median over journeys), drop_offs (not recovered), recoveries, pain_before_drop_off (the commonest
    kind; empty: none), drop_offs_after_pain (of that kind).
    `totals`: one row. `open_alerts`: as `warehouse.alerts.alerts`.
    """

    phase_names: tuple[str, ...]
    touchpoints: pd.DataFrame
    pain_points: pd.DataFrame
    delights: pd.DataFrame
    phases: pd.DataFrame
    totals: pd.DataFrame
    open_alerts: pd.DataFrame
    watermark: datetime | None

    @property
    def channels(self) -> list[str]:
        """The channels that occur, the four of the house first and in their order."""
        seen = set(self.touchpoints["channel"])
        return [c for c in CHANNEL_ORDER if c in seen] + sorted(seen - set(CHANNEL_ORDER))

    @property
    def mean_emotion(self) -> float:
        """Mean weight of all touchpoints, −1…1; 0 where there are none."""
        count = self.touchpoints["touchpoints"].sum()
        felt = (self.touchpoints["emotion"] * self.touchpoints["touchpoints"]).sum()
        return float(felt / count) if count else 0.0

    def total(self, name: str) -> int:
        """A figure of `totals`; 0 where nothing happened."""
        return int(self.totals[name].iloc[0]) if len(self.totals) else 0

    def phase(self, name: str) -> dict[str, Any]:
        """The row of `phases` for one phase; zeros where nobody was in it."""
        found = self.phases[self.phases["phase"] == name]
        if len(found):
            return {str(key): value for key, value in found.iloc[0].items()}
        return {
            "phase": name,
            "journeys": 0,
            "journeys_forward": 0,
            "median_ms": None,
            "drop_offs": 0,
            "recoveries": 0,
            "pain_before_drop_off": "",
            "drop_offs_after_pain": 0,
        }


def journey_map(
    connection: Engine,
    model: JourneyModel,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    persona: str | None = None,
) -> JourneyMap:
    """The map of the touchpoints that happened from `since` until before `until` (None: no bound), of
    one persona.
    """
    period = _Period(since, until, persona)
    touchpoints = ask(connection, _touchpoints(period))
    began, happened = period.sql("started_at", "started_on"), period.sql("occurred_at", "occurred_on")
    phases = ask(connection, text(_PHASES.format(where=began)), period.binds(list(model.phases)))
    drop_offs = ask(connection, _drop_offs(period))
    totals = ask(connection, text(_TOTALS.format(where=happened)), period.binds())
    journeys = ask(connection, text(_JOURNEYS.format(where=began)), period.binds())
    return JourneyMap(
        phase_names=tuple(model.phases),
        touchpoints=_in_order(pd.DataFrame(touchpoints), model.phases),
        pain_points=pd.DataFrame(ask(connection, _pain_points(period))),
        delights=pd.DataFrame(ask(connection, _delights(period))),
        phases=_in_order(_joined(phases, drop_offs), model.phases),
        totals=pd.concat([pd.DataFrame(totals), pd.DataFrame(journeys)], axis=1),
        open_alerts=pd.DataFrame(alerts(connection, open_only=True)),
        watermark=touchpoints.watermark,
    )


def _in_order(frame: pd.DataFrame, phases: Sequence[str]) -> pd.DataFrame:
    """The rows of each phase together, in the model's order of the phases."""
    place = {phase: number for number, phase in enumerate(phases)}
    return frame.sort_values(
        "phase", key=lambda names: names.map(place).fillna(len(place)), kind="stable", ignore_index=True
    )


def _joined(phases: pd.DataFrame, drop_offs: pd.DataFrame) -> pd.DataFrame:
    both = pd.DataFrame(phases).merge(pd.DataFrame(drop_offs), on="phase", how="outer")
    both["pain_before_drop_off"] = both["pain_before_drop_off"].fillna("")
    counts = ["journeys", "journeys_forward", "drop_offs", "recoveries", "drop_offs_after_pain"]
    both[counts] = both[counts].fillna(0).astype("int64")
    return both


def personas(connection: Engine) -> list[str]:
    """The personas that occur, by name."""
    j = views.journeys.c
    found = ask(connection, select(j.persona).where(j.persona != "").group_by(j.persona).order_by(j.persona))
    return [str(name) for name in found["persona"]]


@dataclass(frozen=True)
class _Period:
    since: datetime | None
    until: datetime | None
    persona: str | None

    def of_touchpoints(self) -> list[ColumnElement[bool]]:
        """The conditions on what is selected from the view touchpoints."""
        conditions = between(column("occurred_at", INSTANT), self.since, self.until)
        # the day is the first part of the key: what lies before it is not read
        if self.since is not None:
            conditions.append(column("occurred_on", Date) >= utc(self.since).date())
        if self.until is not None:
            conditions.append(column("occurred_on", Date) <= utc(self.until).date())
        return conditions + self.of_persona(column("persona"))

    def of_persona(self, persona: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """The condition on whose journey it is."""
        return [] if self.persona is None else [persona == self.persona]

    def sql(self, at: str, day: str) -> str:
        """The same as text, for what the query builder cannot say; `day` is the day of `at`, in the key."""
        conditions = []
        if self.since is not None:
            conditions.append(f"{at} >= :since and {day} >= :since_day")
        if self.until is not None:
            conditions.append(f"{at} < :until and {day} <= :until_day")
        if self.persona is not None:
            conditions.append("persona = :persona")
        return " and ".join(conditions) or "1"

    def binds(self, phases: list[str] | None = None) -> dict[str, Any]:
        """The values of these conditions."""
        said: dict[str, Any] = {"persona": self.persona, "phases": phases}
        for name, at in (("since", self.since), ("until", self.until)):
            said |= {name: at, f"{name}_day": None if at is None else utc(at).date().isoformat()}
        return {name: value for name, value in said.items() if value is not None}


# to tell people apart, 64 bits of a name do, and take half the time of the name
_PEOPLE = "uniqExact(cityHash64(customer_id))"


def _touchpoints(period: _Period) -> Select[Any]:
    t = views.touchpoints.c
    return (
        select(
            t.phase,
            t.channel,
            t.type,
            func.count().label("touchpoints"),
            literal_column(_PEOPLE, UInt64).label("customers"),
            func.avg(t.weight).label("emotion"),
            literal_column("quantile(0.1)(weight)").label("emotion_p10"),
            literal_column("quantile(0.9)(weight)").label("emotion_p90"),
            func.avg(t.ordinal).label("place"),
            func.max(t.moment_of_truth).label("moment_of_truth"),
        )
        .where(*period.of_touchpoints())
        .group_by(t.phase, t.channel, t.type)
        .order_by(t.phase, t.channel, func.count().desc(), t.type)
    )


def _pain_points(period: _Period) -> Select[Any]:
    phase, kind, felt = column("phase", WORD), column("kind", WORD), column("felt", Float32)
    return (
        select(
            phase,
            kind,
            func.count().label("pain_points"),
            literal_column(_PEOPLE, UInt64).label("customers"),
            func.avg(felt).label("severity"),
            func.sum(felt).label("hurt"),
        )
        .select_from(text("touchpoints array join pain_kinds as kind, pain_severities as felt"))
        .where(*period.of_touchpoints())
        .group_by(phase, kind)
        .order_by(func.sum(felt).desc(), phase, kind)
    )


def _delights(period: _Period) -> Select[Any]:
    phase, kind = column("phase", WORD), column("kind", WORD)
    return (
        select(phase, kind, func.count().label("delights"))
        .select_from(text("touchpoints array join delight_kinds as kind"))
        .where(*period.of_touchpoints())
        .group_by(phase, kind)
        .order_by(func.count().desc(), phase, kind)
    )


_COMMONEST_PAIN = "topKIf(1, 10, 'counts')(pain_kind, pain_kind != '' and recovered_at is null)[1]"


def _drop_offs(period: _Period) -> Select[Any]:
    d = views.drop_offs.c
    return (
        select(
            d.phase,
            func.countIf(d.recovered_at.is_(None)).label("drop_offs"),
            func.countIf(d.recovered_at.is_not(None)).label("recoveries"),
            literal_column(f"{_COMMONEST_PAIN}.item").label("pain_before_drop_off"),
            literal_column(f"{_COMMONEST_PAIN}.count").label("drop_offs_after_pain"),
        )
        .where(*between(d.at, period.since, period.until), *period.of_persona(d.persona))
        .group_by(d.phase)
    )


# The time from a touchpoint to the next belongs to the phase of the first of the two.
_PHASES = """
select phase, count() as journeys, countIf(went_on) as journeys_forward, median(in_phase_ms) as median_ms
from (
    select phase,
           arrayExists((later, n) -> n > indexOf(phases, phase) and indexOf(:phases, later) >
           indexOf(:phases, phase), phases, arrayEnumerate(phases)) as went_on,
           arraySum((gap, of) -> if(of = phase, gap, 0),
                    arrayMap(n -> toUnixTimestamp64Milli(ats[n + 1]) - toUnixTimestamp64Milli(ats[n]),
                             range(1, length(ats))),
                    arrayPopBack(phases)) as in_phase_ms
    from journeys array join arrayDistinct(phases) as phase
    where {where}
)
group by phase
"""

_TOTALS = """
select sum(touchpoints) as touchpoints, count() as customers, countIf(several) as customers_across_channels
from (
    select count() as touchpoints, min(cityHash64(channel)) != max(cityHash64(channel)) as several
    from touchpoints where {where} group by cityHash64(customer_id)
)
"""

_JOURNEYS = """
select count() as journeys, countIf(converted_at is not null) as journeys_converted
from journeys where {where}
"""

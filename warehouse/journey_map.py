"""The journey map as data: what happens in each phase, on which channel, how it feels, and where people
come from, stop and go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import pandas as pd
from sqlalchemy import Engine, select, text
from typing_extensions import Doc, Unpack

from models.journey_model import JourneyModel
from warehouse import map_flows, map_spread, map_touchpoints, views
from warehouse.alerts import alerts
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask
from warehouse.basis import model_of, one_basis
from warehouse.binds import Binds
from warehouse.map_touchpoints import Places
from warehouse.moments import moments
from warehouse.scope import Scope, where

CHANNEL_ORDER = ("web", "chat", "voice", "billing")
_HIDDEN = (
    "emotion_sd", "lo", "hi", "emotion_p10", "emotion_p90", "p10_ms", "p90_ms", "sd_ms", "mean_ms", "hurt",
    "journeys_converted", "recoveries", "journeys_decided", "journeys_open", "customers", "pain_before_drop_off",
    "journeys_forward", "drop_offs_after_pain", "place", "net_lo", "net_hi", "sd", "delights",
)  # fmt: skip
_COUNTS = (
    "touchpoints", "customers", "pain_points", "delights", "journeys", "journeys_forward", "journeys_lost",
    "journeys_open", "journeys_converted", "journeys_decided", "drop_offs", "recoveries", "drop_offs_after_pain",
)  # fmt: skip


@analysis("map", hidden=_HIDDEN)
def journey_map(
    connection: Engine,
    *,
    by: Annotated[
        Literal["phase", "persona"], Doc("Rows of each phase, or of each phase and persona of the journey.")
    ] = "phase",
    **among: Unpack[Among],
) -> Answer:
    """The journey map: each phase with what happens in it, how it feels, what hurts and where people go.

    One row per phase of the journey model, in its order; by persona, per phase and persona that occur. Columns:
    phase, (persona; empty: none said), touchpoints, customers, emotion (mean weight, −1…1; NaN: no touchpoint),
    emotion_sd, lo, hi (95 % of the emotion), emotion_p10, emotion_p90, pain_points, hurt (sum of severities),
    delights, journeys, journeys_forward, journeys_lost, journeys_open, journeys_converted, journeys_decided (all but
    the open ones), forward_rate (of the decided, 0–1; NaN: none is), mean_ms, sd_ms, p10_ms, median_ms, p90_ms
    (time in the phase), drop_offs (not recovered), recoveries, pain_before_drop_off (the commonest kind; empty:
    none), drop_offs_after_pain (of that kind).

    The period is of the touchpoint's time; of journeys, their flows and times it is of their beginning, and of
    drop-offs of their date. Parts: `touchpoints` by channel and type, `pain_points`, `delights`, `scores`,
    `entries`, `exits`, `owners` (queue and team): columns as in `warehouse.map_touchpoints` and
    `warehouse.map_flows`; `moments` (of truth) as in `warehouse.moments`; and `totals`, one row.
    """
    scope, model = scope_of(connection, among), model_of(connection)
    places = Places(scope, by == "persona")
    seen = _Seen.at(connection, places, model)
    entries, exits, flows_sql = map_flows.flows(connection, places, model)
    scores, owners = map_touchpoints.scores(connection, places), map_touchpoints.owners(connection, places)
    decisive = moments(connection, by=("phase", "type"), **among)
    frame = seen.phases(places, model)
    rows = list(zip(*(frame[key] for key in places.keys), strict=True))
    return answer(
        frame,
        ";\n\n".join([*(one.sql() for one in (*seen.asked, scores, owners, decisive)), flows_sql]),
        seen.touchpoints.watermark,
        measures=Measures(
            keys=places.keys,
            counts=_COUNTS,
            rates={"forward_rate": ("journeys_forward", "journeys_decided")},
            means={"emotion": ("emotion_sd", "touchpoints"), "mean_ms": ("sd_ms", "journeys")},
            intervals={
                "hurt": lambda: map_spread.of_hurt(connection, places, rows),
                "median_ms": lambda: map_spread.of_median(connection, places, model, rows),
            },
        ),
        parts={
            "touchpoints": _in_order(seen.touchpoints, model.phases),
            "pain_points": pd.DataFrame(seen.pains),
            "delights": pd.DataFrame(seen.delights),
            "scores": _in_order(scores, model.phases),
            "moments": _in_order(decisive, model.phases),
            "entries": _in_order(entries, model.phases),
            "exits": _in_order(exits, model.phases),
            "owners": pd.DataFrame(owners),
            "totals": pd.DataFrame(seen.totals),
        },
        noun="phases",
    )


@dataclass(frozen=True)
class _Seen:
    """What the map and the page ask alike."""

    touchpoints: Answer
    felt: pd.DataFrame
    pains: Answer
    delights: Answer
    stays: Answer
    drop_offs: Answer
    totals: Answer

    @classmethod
    def at(cls, connection: Engine, places: Places, model: JourneyModel) -> "_Seen":
        touchpoints, felt = map_touchpoints.touchpoints(connection, places)
        return cls(
            touchpoints,
            felt,
            map_touchpoints.pain_points(connection, places),
            map_touchpoints.delights(connection, places),
            map_flows.stays(connection, places, model),
            map_touchpoints.drop_offs(connection, places),
            _totals(connection, places.scope),
        )

    @property
    def asked(self) -> tuple[Answer, ...]:
        return self.touchpoints, self.pains, self.delights, self.stays, self.drop_offs, self.totals

    def phases(self, places: Places, model: JourneyModel) -> pd.DataFrame:
        return _phases(places, model, self.felt, self.pains, self.delights, self.stays, self.drop_offs)


def _phases(places: Places, model: JourneyModel, felt: pd.DataFrame, *others: pd.DataFrame) -> pd.DataFrame:
    """The row of each place, put together from what was asked of it."""
    keys = list(places.keys)
    pains, delights, stays, drop_offs = (pd.DataFrame(one) for one in others)
    pains = pains.groupby(keys, as_index=False)[["pain_points", "hurt"]].sum()
    delights = delights.groupby(keys, as_index=False)[["delights"]].sum()
    all_ = felt
    for part in (pains, delights, stays.drop(columns="spread"), drop_offs.drop(columns="commonest")):
        all_ = all_.merge(part, on=keys, how="outer")
    if not places.by_persona:
        all_ = all_.merge(pd.DataFrame({"phase": model.phases}, dtype="str"), on="phase", how="outer")
    all_["pain_before_drop_off"] = all_["pain_before_drop_off"].fillna("").astype("str")
    at = list(all_.columns).index("mean_ms")
    all_.insert(at, "journeys_decided", all_["journeys"] - all_["journeys_open"])
    counts = list(_COUNTS)
    all_[counts] = all_[counts].fillna(0).astype("int64")
    all_["hurt"] = all_["hurt"].fillna(0.0).astype("float64")
    decided = all_["journeys_decided"].where(all_["journeys_decided"] > 0).astype("float64")
    all_.insert(at + 1, "forward_rate", all_["journeys_forward"] / decided)
    floats = [name for name in all_.columns if name not in {*keys, *counts, "pain_before_drop_off"}]
    return _in_order(all_.astype(dict.fromkeys(floats, "float64")), model.phases)


@dataclass(frozen=True)
class JourneyMap:
    """What a page draws of a map: `touchpoints`, `pain_points`, `delights`, `phases` and `totals` as `journey_map`
    has them, though without scores, flows and owners. `open_alerts`: as `warehouse.alerts.alerts`.
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
        """The row of `phases` for one phase."""
        found = self.phases[self.phases["phase"] == name]
        return {str(key): value for key, value in found.iloc[0].items()}


def drawn(
    connection: Engine,
    model: JourneyModel,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    persona: str | None = None,
) -> JourneyMap:
    """The map of what happened from `since` until before `until` (None: no bound), of one persona."""
    places = Places(
        scope_of(connection, {"since": since, "until": until, "persona": persona}), by_persona=False
    )
    with one_basis(connection):
        seen = _Seen.at(connection, places, model)
        open_alerts = pd.DataFrame(alerts(connection, open_only=True))
    return JourneyMap(
        phase_names=tuple(model.phases),
        touchpoints=_in_order(seen.touchpoints, model.phases),
        pain_points=pd.DataFrame(seen.pains),
        delights=pd.DataFrame(seen.delights),
        phases=seen.phases(places, model),
        totals=pd.DataFrame(seen.totals),
        open_alerts=open_alerts,
        watermark=seen.touchpoints.watermark,
    )


def personas(connection: Engine) -> list[str]:
    """The personas that occur, by name."""
    j = views.journeys.c
    found = ask(connection, select(j.persona).where(j.persona != "").group_by(j.persona).order_by(j.persona))
    return [str(name) for name in found["persona"]]


def _in_order(frame: pd.DataFrame, phases: Sequence[str]) -> pd.DataFrame:
    """The rows of each phase together, in the model's order of the phases."""
    place = {phase: number for number, phase in enumerate(phases)}
    return pd.DataFrame(frame).sort_values(
        "phase", key=lambda names: names.map(place).fillna(len(place)), kind="stable", ignore_index=True
    )


_TOTALS = """
select * from (
    select sum(touchpoints) as touchpoints, count() as customers, countIf(several) as customers_across_channels
    from (
        select count() as touchpoints, min(cityHash64(channel)) != max(cityHash64(channel)) as several
        from touchpoints {happened} group by cityHash64(customer_id)
    )
) as t,
(
    select count() as journeys, countIf(converted_at is not null) as journeys_converted
    from journeys {began}
) as j
"""


def _totals(connection: Engine, scope: Scope) -> Answer:
    """One row: touchpoints, customers, customers_across_channels, journeys, journeys_converted."""
    binds = Binds()
    happened = where(scope.period("occurred_at", "occurred_on", binds), scope.of_touchpoints(binds))
    began = where(scope.period("started_at", "started_on", binds), scope.of_journeys(binds))
    return ask(connection, text(_TOTALS.format(happened=happened, began=began)), binds)

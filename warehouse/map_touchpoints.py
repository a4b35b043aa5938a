"""What happens at the touchpoints of each phase: how much, on which channel, how it feels, what hurts, who acts."""

# ruff: noqa: S608  the SQL is put together from names of ours; values are bound

from collections.abc import Sequence

import msgspec
import numpy as np
import pandas as pd
from sqlalchemy import Engine, text

from warehouse.answer import Answer, answer, ask
from warehouse.binds import Binds
from warehouse.scope import Scope, where
from warehouse.statistics import mean_intervals

# to tell people apart, 64 bits of a name do, and take half the time of the name
_PEOPLE = "uniqExact(cityHash64(customer_id)) as customers"
_NPS_PROMOTER, _NPS_DETRACTOR = 9, 6
_Z = 1.96


class Places(msgspec.Struct, frozen=True):
    """What the rows of a map are of: each phase, or each phase and persona of the journey; and among whom."""

    scope: Scope
    by_persona: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell its places apart."""
        return ("phase", "persona") if self.by_persona else ("phase",)

    @property
    def key(self) -> str:
        """The same, as SQL lists them."""
        return ", ".join(self.keys)

    def rows(
        self,
        view: str,
        columns: str,
        binds: Binds,
        *,
        at: str,
        day: str | None = None,
        only: Sequence[str] = (),
    ) -> str:
        """What stands after `from`: rows of a view with `columns` and the keys; `view` may unfold arrays."""
        chosen = where(list(only), self.scope.period(at, day, binds), self.scope.of_touchpoints(binds))
        found = f"(select phase, journey_id, {columns} from {view} {chosen})"
        if not self.by_persona:
            return found
        # a persona is the journey's, and not what was said on the touchpoint
        return f"{found} as r any left join (select journey_id, persona from journeys) as j using journey_id"


def touchpoints(connection: Engine, places: Places) -> tuple[Answer, pd.DataFrame]:
    """Per place, channel and type, and per place: touchpoints, customers, emotion (mean, −1…1), emotion_sd, lo, hi
    (95 %, Student's), emotion_p10, emotion_p90 (weights that occur), place (mean place in the journey, from 1)
    and moment_of_truth.
    """
    binds = Binds()
    columns = "customer_id, channel, type, weight, ordinal, moment_of_truth"
    found = ask(
        connection,
        text(f"""
            select {places.key}, channel, type, grouping(type) as whole, count() as touchpoints, {_PEOPLE},
                   avg(weight) as emotion, if(count() > 1, stddevSampStable(weight), nan) as emotion_sd,
                   quantileExactWeighted(0.1)(weight, 1) as emotion_p10,
                   quantileExactWeighted(0.9)(weight, 1) as emotion_p90,
                   avg(ordinal) as place, toBool(max(moment_of_truth)) as moment_of_truth
            from {places.rows("touchpoints", columns, binds, at="occurred_at", day="occurred_on")}
            group by grouping sets (({places.key}, channel, type), ({places.key}))
            order by {places.key}, channel, touchpoints desc, type"""),
        binds,
    )
    frame = pd.DataFrame(found).astype({"moment_of_truth": "bool"})
    at = list(frame.columns).index("emotion_sd") + 1
    lo, hi = mean_intervals(frame["emotion"], frame["emotion_sd"], frame["touchpoints"])
    frame.insert(at, "lo", lo)
    frame.insert(at + 1, "hi", hi)
    whole = frame["whole"] == 1
    of_places = frame[whole].drop(columns=["whole", "channel", "type", "place", "moment_of_truth"])
    frame = frame[~whole].drop(columns="whole").reset_index(drop=True)
    return _with(found, frame), of_places.reset_index(drop=True)


def pain_points(connection: Engine, places: Places) -> Answer:
    """Per place and kind, what hurts most first: rank (within its place, from 1), pain_points, customers, severity
    (mean, 0–1), hurt (sum of severities).
    """
    binds = Binds()
    return ask(
        connection,
        text(f"""
            select {places.key}, kind, row_number() over (partition by {places.key} order by hurt desc, kind) as rank,
                   count() as pain_points, {_PEOPLE}, avg(felt) as severity,
                   sum(toUInt64(round(felt * 1000))) / 1000 as hurt
            from {pains(places, binds)} group by {places.key}, kind order by hurt desc, {places.key}, kind"""),
        binds,
    )


def pains(places: Places, binds: Binds) -> str:
    """What stands after `from`: a row per pain point with the keys, customer_id, kind and felt, its severity."""
    unfolded = "touchpoints array join pain_kinds as kind, pain_severities as felt"
    return places.rows(unfolded, "customer_id, kind, felt", binds, at="occurred_at", day="occurred_on")


def delights(connection: Engine, places: Places) -> Answer:
    """Per place and kind, the most frequent first: rank (within its place, from 1), delights, customers."""
    binds = Binds()
    unfolded = "touchpoints array join delight_kinds as kind"
    rows = places.rows(unfolded, "customer_id, kind", binds, at="occurred_at", day="occurred_on")
    return ask(
        connection,
        text(f"""
            select {places.key}, kind,
                   row_number() over (partition by {places.key} order by delights desc, kind) as rank,
                   count() as delights, {_PEOPLE}
            from {rows} group by {places.key}, kind order by delights desc, {places.key}, kind"""),
        binds,
    )


def scores(connection: Engine, places: Places) -> Answer:
    """Per place and score (csat 1–5, nps 0–10, ces 1–7): answers, mean, sd, lo, hi (of the mean, 95 %, Student's),
    and of nps: promoters (9 and 10), passives, detractors (0 to 6), net (promoters less detractors in a hundred
    answers, −100…100), net_lo, net_hi (95 %, normal); of the others 0 and NaN.
    """
    binds = Binds()
    unfolded = "touchpoints array join ['csat', 'nps', 'ces'] as score, [csat, nps, ces] as said"
    rows = places.rows(
        unfolded, "score, said", binds, at="occurred_at", day="occurred_on", only=["said is not null"]
    )
    found = ask(
        connection,
        text(f"""
            select {places.key}, score, count() as answers, avg(assumeNotNull(said)) as mean,
                   if(count() > 1, stddevSampStable(assumeNotNull(said)), nan) as sd,
                   countIf(score = 'nps' and said >= {_NPS_PROMOTER}) as promoters,
                   countIf(score = 'nps' and said > {_NPS_DETRACTOR} and said < {_NPS_PROMOTER}) as passives,
                   countIf(score = 'nps' and said <= {_NPS_DETRACTOR}) as detractors
            from {rows} group by {places.key}, score order by {places.key}, score"""),
        binds,
    )
    frame = pd.DataFrame(found)
    lo, hi = mean_intervals(frame["mean"], frame["sd"], frame["answers"])
    at = list(frame.columns).index("sd") + 1
    frame.insert(at, "lo", lo)
    frame.insert(at + 1, "hi", hi)
    answers = frame["answers"].where(frame["score"] == "nps").astype("float64")
    for_, against = frame["promoters"] / answers, frame["detractors"] / answers
    spread = _Z * np.sqrt((for_ + against - (for_ - against) ** 2) / answers)
    frame["net"] = 100 * (for_ - against)
    frame["net_lo"] = (frame["net"] - 100 * spread).clip(lower=-100)
    frame["net_hi"] = (frame["net"] + 100 * spread).clip(upper=100)
    return _with(found, frame)


def owners(connection: Engine, places: Places) -> Answer:
    """Who acts behind the scenes, per place, channel, queue and team (empty: not said), the busiest first:
    touchpoints, customers, waited (touchpoints with a known wait), median_wait_ms (NaN: none), emotion.
    """
    binds = Binds()
    columns = "customer_id, channel, queue, team, wait_ms, weight"
    only = ["queue != '' or team != ''"]
    rows = places.rows("touchpoints", columns, binds, at="occurred_at", day="occurred_on", only=only)
    return ask(
        connection,
        text(f"""
            select {places.key}, channel, queue, team, count() as touchpoints, {_PEOPLE}, count(wait_ms) as waited,
                   quantileExactInclusive(0.5)(wait_ms) as median_wait_ms, avg(weight) as emotion
            from {rows} group by {places.key}, channel, queue, team
            order by touchpoints desc, {places.key}, channel, queue, team"""),
        binds,
    )


def drop_offs(connection: Engine, places: Places) -> Answer:
    """Per place: drop_offs (not recovered), recoveries, pain_before_drop_off (the commonest kind before those,
    the first by name of several; empty: none), drop_offs_after_pain (of that kind).
    """
    binds = Binds()
    rows = places.rows("drop_offs", "pain_kind, recovered_at", binds, at="at")
    return ask(
        connection,
        text(f"""
            select {places.key}, sum(lost) as drop_offs, sum(back) as recoveries,
                   arraySort(groupArrayIf((-toInt64(lost), kind), kind != '' and lost > 0)) as commonest,
                   commonest[1].2 as pain_before_drop_off,
                   maxIf(lost, kind != '') as drop_offs_after_pain
            from (
                select {places.key}, toString(pain_kind) as kind, countIf(recovered_at is null) as lost,
                       countIf(recovered_at is not null) as back
                from {rows} group by {places.key}, kind
            )
            group by {places.key} order by {places.key}"""),
        binds,
    )


def _with(found: Answer, frame: pd.DataFrame) -> Answer:
    """The answer with other columns."""
    return answer(frame, found.sql(), found.watermark)

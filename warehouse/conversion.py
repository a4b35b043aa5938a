"""Conversion from phase to phase: of the journeys that came into a phase, how many went on, and how many stopped.

The rules. A journey counts once in every phase that it was in, and there it is exactly one of three:
- `forward`: after its first touchpoint in the phase a later one stood in a further phase.
- `lost`: it did not, and the journey has ended: by a drop-off that nobody came back from, or by a closing touchpoint.
- `open`: it did not, and the journey goes on.
So entered = forward + lost + open. Beside that, `back` are those of which a later touchpoint stood in an earlier
phase, whatever else they did, and `converted` those that hold a conversion. Rates are over the decided, forward and
lost; with a 95 % interval (Wilson). Beyond the last phase there is nothing: nobody goes forward from it.

A visit is an unbroken run of touchpoints in one phase. It lasts from its first touchpoint to the first one of the
next visit; the last visit of a journey has no end.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask, utc
from warehouse.basis import model_of
from warehouse.binds import Binds
from warehouse.scope import NOT, Scope, where
from warehouse.statistics import wilson

By = Literal["day", "week", "campaign", "channel", "persona"]

NONE_SAID = "(none)"
MOST_BUCKETS = 4_000
_COUNTS = ("entered", "forward", "back", "lost", "open", "converted")
_TIMES = ("median_s", "p10_s", "p90_s")
_COLUMNS = {
    "phase": "str",
    **dict.fromkeys(("entered", "forward", "back", "lost", "open", "decided"), "int64"),
    **dict.fromkeys(("forward_rate", "lo", "hi"), "float64"),
    "converted": "int64",
}
_STEP = {"day": timedelta(days=1), "week": timedelta(days=7)}
_INSTANT = timedelta(milliseconds=1)


@analysis("conversion")
def conversion(
    connection: Engine,
    *,
    by: Annotated[
        By,
        Doc("One line per day or week of the beginning, campaign of first touch, first channel or persona."),
    ] = "day",
    visits: Annotated[
        bool, Doc("Also how long journeys stay in each phase, where from and where to.")
    ] = False,
    **among: Unpack[Among],
) -> Answer:
    """How many journeys came into each phase and went on to a further one.

    One row per value of `by` and phase, in the order of the current journey model; days and weeks (Mondays) in
    their order, those without journeys as well, other values the largest first. The period is of the journey's
    beginning. Columns: the one of `by` (date or str), phase, entered, forward, back, lost, open, decided (forward +
    lost), forward_rate (of the decided, 0–1; NaN: none is), lo, hi (95 %), converted. With `visits` also median_s,
    p10_s, p90_s (length of ended visits; NaN: none has), and the part `moves`, over all values of `by`: phase
    ("(start)": before the journey), to (a phase, "(lost)" or "(open)"), visits, journeys. QuestionError for a period
    of too many days.
    """
    if by not in get_args(By):
        raise QuestionError(
            f'conversion by "{by}" is not known', remedy=f"It is by one of {', '.join(get_args(By))}."
        )
    scope = scope_of(connection, among)
    phases = model_of(connection).phases
    binds = Binds()
    stored = _whole_days(scope) and by in ("day", "week", "campaign") and not visits
    sql = _stored(by, scope, binds) if stored else _worked_out(by, phases, scope, binds)
    found = ask(connection, text(sql), binds)
    frame = _in_order(pd.DataFrame(found), by, phases, scope)
    said = found.sql()
    parts: Mapping[str, Any] = {}
    if visits:
        frame, parts, more = _with_visits(connection, frame, by, phases, scope)
        said = ";\n\n".join((said, *more))
    rates = Measures(
        keys=(by, "phase"),
        counts=("entered", "back", "lost", "open", "converted"),
        rates={"forward_rate": ("forward", "decided")},
        figures=_TIMES if visits else (),
    )
    return answer(frame, said, found.watermark, measures=rates, parts=parts)


def _whole_days(scope: Scope) -> bool:
    """Whether the days that the stream keeps can answer: they are of UTC and know campaigns alone."""
    midnights = all(at is None or utc(at).time() == time() for at in (scope.since, scope.until))
    of_campaign = msgspec.structs.replace(scope, campaign=None).everybody
    return scope.timezone == "UTC" and midnights and of_campaign


def _stored(by: By, scope: Scope, binds: Binds) -> str:
    """From the days that the stream keeps."""
    none_said = f"if(campaign = '', {binds.bound(NONE_SAID)}, campaign)"
    key = {"day": "day", "week": "toMonday(day)"}.get(by, none_said)
    conditions = []
    if scope.since is not None:
        conditions.append(f"day >= toDate({binds.bound(utc(scope.since).date().isoformat())})")
    if scope.until is not None:
        conditions.append(f"day < toDate({binds.bound(utc(scope.until).date().isoformat())})")
    if scope.campaign is not None:
        operator = "!=" if scope.campaign.startswith(NOT) else "="
        conditions.append(f"campaign {operator} {binds.bound(scope.campaign.removeprefix(NOT))}")
    sums = ", ".join(f"sum(s.{name}) as {name}" for name in _COUNTS)
    return f"""
        select {key} as key, phase, {sums} from stage_conversion_1d as s {where(conditions)}
        group by key, phase having entered > 0"""  # noqa: S608  values are bound, names are ours


def _worked_out(by: By, phases: Sequence[str], scope: Scope, binds: Binds) -> str:
    """From the journeys themselves. Whether a further phase came later is told by where each came first and last.

    Written out phase by phase: a lambda over the phases takes six times as long.
    """
    names = [binds.bound(phase) for phase in phases]
    places = range(len(phases))
    came = ", ".join(
        f"indexOf(way, {name}) as f{n}, if(f{n} = 0, 0, length(way) + 1 - indexOf(reversed, {name})) as l{n}"
        for n, name in enumerate(names)
    )
    went_on = ", ".join(f"{_latest(places[n + 1 :])} > f{n}" for n in places)
    went_back = ", ".join(f"{_latest(places[:n])} > f{n}" for n in places)
    return f"""
        select key, phase, count() as entered, countIf(went_on) as forward, countIf(went_back) as back,
               countIf(not went_on and ended) as lost, countIf(not went_on and not ended) as open,
               countIf(converted) as converted
        from (
            select {_key(by, scope, binds)} as key, closed or drop_off_at is not null as ended,
                   converted_at is not null as converted, arrayCompact(phases) as way, arrayReverse(way) as reversed,
                   {came}
            from journeys
            {_chosen(scope, binds)}
        )
        array join [{", ".join(names)}] as phase, [{", ".join(f"f{n}" for n in places)}] as first,
                   [{went_on}] as went_on, [{went_back}] as went_back
        where first > 0
        group by key, phase"""  # noqa: S608  values are bound, names are ours


def _latest(places: Sequence[int]) -> str:
    """Where any of these phases came last; 0: nowhere."""
    return f"greatest(0, {', '.join(f'l{n}' for n in places)})" if places else "0"


def _key(by: By, scope: Scope, binds: Binds) -> str:
    if by in _STEP:
        day = f"toDate(started_at, {binds.bound(scope.timezone)})"
        return day if by == "day" else f"toMonday({day})"
    if by == "channel":
        return "channels[1]"
    column = "campaign_first" if by == "campaign" else "persona"
    return f"if({column} = '', {binds.bound(NONE_SAID)}, {column})"


def _chosen(scope: Scope, binds: Binds) -> str:
    return where(scope.period("started_at", "started_on", binds), scope.of_journeys(binds))


def _in_order(found: pd.DataFrame, by: By, phases: Sequence[str], scope: Scope) -> pd.DataFrame:
    """A row per value of `by` and phase, with its rate; days and weeks without journeys as well."""
    counts = {(row[0], row[1]): row[2:] for row in found.itertuples(index=False, name=None)}
    place = {phase: n for n, phase in enumerate(phases)}
    largest: dict[Any, int] = {}
    if by in _STEP:
        for bucket in _buckets(by, [key for key, _ in counts], scope):
            for phase in phases:
                counts.setdefault((bucket, phase), (0,) * len(_COUNTS))
    else:
        for (key, _), (entered, *_) in counts.items():
            largest[key] = max(entered, largest.get(key, 0))

    def order(row: tuple[Any, str]) -> tuple[Any, ...]:
        key, phase = row
        return -largest.get(key, 0), key, place.get(phase, len(place)), phase

    rows = [(*row, *_rated(*counts[row])) for row in sorted(counts, key=order)]
    return frames.frame(rows, {by: frames.LIST if by in _STEP else "str", **_COLUMNS})


def _rated(entered: int, forward: int, back: int, lost: int, open: int, converted: int) -> tuple[Any, ...]:
    decided = forward + lost
    rate = forward / decided if decided else None
    return entered, forward, back, lost, open, decided, rate, *wilson(forward, decided), converted


def _buckets(by: By, found: Sequence[date], scope: Scope) -> Iterator[date]:
    """All days or weeks of the period; where it has no bound, from the first or to the last that was found."""
    if not found and (scope.since is None or scope.until is None):
        return
    first = min(found) if scope.since is None else scope.since.astimezone(scope.zone).date()
    last = max(found) if scope.until is None else (scope.until.astimezone(scope.zone) - _INSTANT).date()
    if by == "week":
        first -= timedelta(days=first.weekday())
    step = _STEP[by]
    if (last - first) // step >= MOST_BUCKETS:
        raise QuestionError(
            f"from {first} to {last} there are more than {MOST_BUCKETS:,} {by}s",
            remedy="Ask for a shorter period, or by campaign, channel or persona.",
        )
    while first <= last:
        yield first
        first += step


_VISITS = """
    select {key} as key, journey_id,
           arrayFilter((place, phase, before) -> phase != before, arrayEnumerate(phases), phases,
                       arrayPushFront(arrayPopBack(phases), '')) as begins,
           arrayMap(place -> phases[place], begins) as visited,
           arrayMap(place -> toUnixTimestamp64Milli(ats[place]), begins) as begun,
           if(closed or drop_off_at is not null, '(lost)', '(open)') as ends
    from journeys {chosen}"""


def _lengths(by: By, scope: Scope, binds: Binds) -> str:
    """How long the visits of each value of `by` and phase were that have ended."""
    visits = _VISITS.format(key=_key(by, scope, binds), chosen=_chosen(scope, binds))
    return f"""
        select key, phase, quantilesExactInclusive(0.5, 0.1, 0.9)((next - begin) / 1000) as s
        from (select key, arrayPopBack(visited) as phases, arrayPopBack(begun) as begins, arrayPopFront(begun) as nexts
              from ({visits}))
        array join phases as phase, begins as begin, nexts as next
        group by key, phase"""  # noqa: S608  values are bound, names are ours


def _moves(by: By, scope: Scope, binds: Binds) -> str:
    """Where journeys came from into each phase, and where they went to."""
    visits = _VISITS.format(key=_key(by, scope, binds), chosen=_chosen(scope, binds))
    return f"""
        select phase, to, count() as visits, uniqExact(journey_id) as journeys
        from (select journey_id, arrayPushFront(visited, '(start)') as phases, arrayPushBack(visited, ends) as tos
              from ({visits}))
        array join phases as phase, tos as to
        group by phase, to"""  # noqa: S608  values are bound, names are ours


def _with_visits(
    connection: Engine, frame: pd.DataFrame, by: By, phases: Sequence[str], scope: Scope
) -> tuple[pd.DataFrame, Mapping[str, Any], list[str]]:
    """The rows with the lengths of their visits, the part `moves`, and what was asked for them."""
    binds = Binds()
    lengths = ask(connection, text(_lengths(by, scope, binds)), binds)
    of = {(key, phase): s for key, phase, s in lengths.itertuples(index=False, name=None)}
    rows = [of.get(key, (None,) * len(_TIMES)) for key in zip(frame[by], frame["phase"], strict=True)]
    frame = frame.join(pd.DataFrame(rows, columns=list(_TIMES), index=frame.index, dtype="float64"))
    binds = Binds()
    moves = ask(connection, text(_moves(by, scope, binds)), binds)
    place = {phase: n for n, phase in enumerate(("(start)", *phases, "(lost)", "(open)"))}
    in_order = moves.sort_values(["phase", "to"], key=lambda names: names.map(place), ignore_index=True)
    return frame, {"moves": pd.DataFrame(in_order)}, [lengths.sql(), moves.sql()]

"""Whether the warehouse agrees with itself: touchpoints with their journeys, buckets with the rows they count.

Asked while rows arrive, an answer may name what is on its way: a journey's row comes up to a second after its
touchpoints', a bucket after its rows. What two answers some time apart both name is wrong.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from warehouse.aggregates import AGGREGATES, Aggregate, phase_array

_ROWS_TOGETHER = 1_000_000  # touchpoints per question, so that memory does not grow with the table
_NAMED_AT_MOST = 100_000  # of them; were the journeys gone, each one would be named
_SETTINGS = {"do_not_merge_across_partitions_select_final": 1}

_ASTRAY = """
    select id, anyIf(source, side = 0) as source, anyIf(channel, side = 0) as channel,
           countIf(side = 0) as rows, countIf(side = 1) as places, uniqExact(journey, place) as said
    from (
        select id, toString(source) as source, toString(channel) as channel, journey_id as journey,
               ordinal as place, 0 as side
        from touchpoint_rows final where cityHash64(id) % {parts:UInt32} = {part:UInt32}
        union all
        select touchpoint_id as id, '' as source, '' as channel, journey, toUInt32(n) as place, 1 as side
        from (
            select journey_id as journey, touchpoint_id, n from journey_rows final
            array join touchpoint_ids as touchpoint_id, arrayEnumerate(touchpoint_ids) as n
        )
        where cityHash64(touchpoint_id) % {parts:UInt32} = {part:UInt32}
    )
    group by id having not (rows = 1 and places = 1 and said = 1)
    limit {most:UInt32}
"""


class Astray(NamedTuple):
    """A touchpoint that does not stand at its place in exactly one journey. `why`: for people."""

    id: str
    source: str
    channel: str
    why: str


def astray(client: Client) -> Iterator[Astray]:
    """Touchpoints whose row and journeys do not agree; source and channel are empty where there is no row.

    At most 100,000 per million rows.
    """
    [[rows]] = client.query("select count() from touchpoint_rows").result_rows
    parts = 1 + rows // _ROWS_TOGETHER
    for part in range(parts):
        parameters = {"parts": parts, "part": part, "most": _NAMED_AT_MOST}
        answer = client.query(_ASTRAY, parameters=parameters, settings=_SETTINGS)
        for id, source, channel, rows, places, _said in answer.result_rows:
            yield Astray(id, source, channel, _why(rows, places))


def _why(rows: int, places: int) -> str:
    if not rows:
        return "stands in a journey and has no row"
    if not places:
        return "stands in no journey"
    if rows > 1:
        return f"has {rows} rows"
    return (
        f"stands in {places} journeys" if places > 1 else "stands elsewhere in the journey than its row says"
    )


def unequal_buckets(client: Client, phases: Sequence[str]) -> Iterator[str]:
    """The buckets that do not equal their recount from all rows: table, start and dimensions of each.

    `phases`: names of the phases in the order of the journey model. Reads every row: seconds per million.
    """
    for aggregate in AGGREGATES:
        answer = client.query(_recount(aggregate, phase_array(phases)), settings=_SETTINGS)
        for bucket, *dimensions in answer.result_rows:
            at = bucket.isoformat() if aggregate.by_day else f"{bucket:%Y-%m-%dT%H:%M}"
            yield f"{aggregate.name} {at} {', '.join(map(str, dimensions))}"


def _recount(aggregate: Aggregate, phases: str) -> str:
    """SQL: the keys at which what the rows give, less what the table says, is not nothing."""
    winners = f"(select {', '.join(aggregate.winners)} from {aggregate.source.name} final)"  # noqa: S608  names of ours
    counted = aggregate.contributions.format(winners=winners, phases=phases)
    key = ", ".join((aggregate.bucket, *aggregate.dimensions))
    given = ", ".join(f"toInt64({measure}) as _{measure}" for measure in aggregate.measures)
    said = ", ".join(f"-toInt64({measure}) as _{measure}" for measure in aggregate.measures)
    differs = " or ".join(f"sum(_{measure}) != 0" for measure in aggregate.measures)
    return (
        f"select {key} from (select {key}, {given} from ({counted})"  # noqa: S608  names of ours
        f" union all select {key}, {said} from {aggregate.table.name} final)"
        f" group by {key} having {differs} order by {key}"
    )

"""The pasts of all households, those first that ops look at first.

The order is worked out once and kept in a table of the warehouse; then the households are read in it, some
thousand at a time, so that the first come within seconds, and neither side holds more than those. Reading
stands back for everybody else who asks.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from warehouse.archive import SETTINGS, Past, stream

_DAY_MS = 86_400_000
# Households are put back by the age of their latest touchpoint, those with an open attempt before all.
_AGES_MS = (_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS)

_ELEMENTS_TOGETHER = 200_000  # about so many are sorted at once

# Putting back takes as long as it takes: it leaves a core to those who wait, and stands back for them.
_BEHIND_OTHERS = SETTINGS | {"max_threads": 1, "priority": 10}

# Which households there are, in the order in which they are given: made once, then read chunk by chunk.
_MAKE_ORDER = """
    create table {order} (identifier String, household String, rank Int8, chunk UInt32, begins Date)
    engine = MergeTree order by (chunk, identifier)
    comment 'Households that are being put back, and where. Goes when all are.'
"""

# Every identifier that an element is found by, with what is known of its elements: the archive knows the day only
# on which each happened, the touchpoints and the identifications the instant.
_KNOWN = """
    select identifiers[1] as identifier, toDateTime64(0, 3, 'UTC') as newest,
           toDateTime64(min(occurred_on), 3, 'UTC') as oldest, 0 as open, count() as elements
    from element_rows group by identifier
    union all
    select customer_id as identifier, max(occurred_at), min(occurred_at), max(has(attempt_outcomes, 'open')), 0
    from touchpoint_rows group by identifier
    union all
    select identifiers[1] as identifier, max(at), min(at), 0, 0 from identification_rows group by identifier
"""
# A household is kept under its smallest identifier, and so is a customer: only where a household is
# several customers, or an element begins with a larger identifier, is there anything to look up.
# Within a rank those that began last come first, so that a chunk need not read the days before they did.
_PUT_IN_ORDER = f"""
    insert into {{order}} (identifier, household, rank, chunk, begins)
    select arrayJoin(identifiers), household, rank,
           {{first}} + intDiv(sum(elements) over (
               order by rank, oldest desc, household rows between unbounded preceding and current row
           ), {_ELEMENTS_TOGETHER}),
           toDate(oldest, 'UTC')
    from (
        select household, groupUniqArray(identifier) as identifiers, sum(elements) as elements,
               toUnixTimestamp64Milli(max(newest)) as newest, min(oldest) as oldest,
               multiIf(max(open), 0, {{steps}}) as rank
        from (
            select if(household_id = '', known.identifier, household_id) as household, known.*
            from ({_KNOWN}) as known
            left any join (
                select identifier, argMax(household_id, version) as household_id
                from identity_rows group by identifier having household_id != identifier
            ) as households on households.identifier = known.identifier
        )
        where household not in (select household from {{order}})
        group by household
    )
    where rank >= 0
"""  # noqa: S608  names of ours
_OF_CHUNK = "select identifier from {order} where chunk = {chunk}"
_CHUNK = f"""
    select household, version, element from (
        select identifiers[1] as identifier, toUInt64(0) as version, element from element_rows
        where occurred_on >= '{{begins}}' and identifier global in ({_OF_CHUNK})
        union all
        select customer_id as identifier, max(version), '' from touchpoint_rows
        where occurred_on >= '{{begins}}' and identifier global in ({_OF_CHUNK}) group by identifier
    ) as elements
    inner join (select identifier, household, rank from {{order}} where chunk = {{chunk}}) as households
    on households.identifier = elements.identifier
    order by rank, household
"""  # noqa: S608  names of ours


def pasts(
    client: Client, now: int, *, horizon_ms: int | None = None, order: str = "put_back_order"
) -> Iterator[Past]:
    """The past of every household whose last touchpoint is not older than `horizon_ms` (None: of every one).

    Households with an open attempt come first, however old, then the others by the age of their last
    touchpoint in rough steps; each household whole, all its elements together, once. `now`: UTC ms.
    The warehouse may be written meanwhile: what was there when this began is given. `order`: a table that is
    made and dropped; whoever reads at the same time names another.
    """
    ages = [age for age in _AGES_MS if horizon_ms is None or age < horizon_ms]
    steps = "".join(f"newest >= {now - age}, {rank}, " for rank, age in enumerate(ages, start=1))
    oldest = 0 if horizon_ms is None else now - horizon_ms
    steps += f"newest >= {oldest}, {len(ages) + 1}, -1"
    client.command(f"drop table if exists {order}")
    client.command(_MAKE_ORDER.format(order=order))
    try:
        first = 0
        # a second time for who was merged into a household of another name while the others were read
        for _ in range(2):
            fill = _PUT_IN_ORDER.format(order=order, first=first, steps=steps)
            client.command(fill, settings=_BEHIND_OTHERS)
            for chunk, begins in _chunks(client, order, first):
                chunk_of = _CHUNK.format(order=order, chunk=chunk, begins=begins)
                yield from stream(client, chunk_of, _BEHIND_OTHERS)
                first = chunk + 1
    finally:
        client.command(f"drop table if exists {order}")


def _chunks(client: Client, order: str, first: int) -> Sequence[Sequence[Any]]:
    """The chunks from the first on, and the day on which each begins."""
    asked = f"select chunk, min(begins) from {order} where chunk >= {first} group by chunk order by chunk"  # noqa: S608
    return client.query(asked).result_rows

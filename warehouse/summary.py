"""What the warehouse holds, in one row."""

from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask

# touchpoints stand in the arrays of their journeys, a tenth of the rows; 64 bits tell customers apart in half the time
_SQL = """
select touchpoints, journeys, customers, identifiers, merged_customers, converted_journeys, drop_offs,
       pain_points, open_alerts, rejected, first_at, last_at, by_channel
from (
    select sum(touchpoints) as touchpoints, sum(journeys) as journeys, count() as customers,
           countIf(several_channels) as merged_customers, sum(converted) as converted_journeys,
           sum(drop_offs) as drop_offs, sum(pain_points) as pain_points, min(first_at) as first_at,
           max(last_at) as last_at
    from (
        select sum(length(types)) as touchpoints, count() as journeys,
               max(arrayUniq(channels)) > 1 or min(first_channel) != max(first_channel) as several_channels,
               countIf(converted_at is not null) as converted,
               countIf(drop_off_at is not null) as drop_offs, sum(pain_points) as pain_points,
               min(started_at) as first_at, max(ended_at) as last_at
        from (select *, cityHash64(channels[1]) as first_channel from journeys)
        group by cityHash64(customer_id)
    )
) as j,
(
    select mapFromArrays(groupArray(toString(channel)), groupArray(touchpoints)) as by_channel
    from (
        select channel, count() as touchpoints from journeys array join channels as channel
        group by channel order by channel
    )
) as c,
(select count() as identifiers from identities) as i,
(select countIf(resolved_at is null) as open_alerts from alerts) as a,
(select count() as rejected from rejected_touchpoints) as r
"""


def summary(connection: Engine) -> Answer:
    """One row. Columns: touchpoints, journeys, customers, identifiers, merged_customers (seen on two channels
    or more), converted_journeys, drop_offs (not recovered), pain_points, open_alerts, rejected, first_at,
    last_at (1970: nothing yet), by_channel (channel to touchpoints).
    """
    return ask(connection, text(_SQL))

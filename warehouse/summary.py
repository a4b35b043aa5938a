"""What the warehouse holds, in one row."""

from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask

_SQL = """
select touchpoints, journeys, customers, identifiers, merged_customers, converted_journeys, drop_offs,
       pain_points, open_alerts, rejected, first_at, last_at
from
    (select count() as touchpoints, uniqExact(customer_id) as customers, sum(length(pain_kinds)) as
    pain_points, countIf(drop_off_at is not null and drop_off_recovered_at is null) as drop_offs,
            min(occurred_at) as first_at, max(occurred_at) as last_at
     from touchpoints) as t,
    (select count() as journeys, countIf(converted_at is not null) as converted_journeys from journeys) as j,
    (select count() as identifiers from identities) as i,
    (select count() as merged_customers from (
        select customer_id from touchpoints group by customer_id having uniqExact(channel) > 1
    )) as m,
    (select countIf(resolved_at is null) as open_alerts from alerts) as a,
    (select count() as rejected from rejected_touchpoints) as r
"""


def summary(connection: Engine) -> Answer:
    """One row. Columns: touchpoints, journeys, customers, identifiers, merged_customers (seen on two
    channels or
    more), converted_journeys, drop_offs (not recovered), pain_points, open_alerts, rejected, first_at,
    last_at.
    """
    return ask(connection, text(_SQL))

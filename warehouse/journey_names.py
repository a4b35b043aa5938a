"""The names that journeys are chosen by: personas and campaigns that occur."""

from collections.abc import Iterable
from typing import Literal

from sqlalchemy import Engine, exists, select

from warehouse import views
from warehouse.answer import ask
from warehouse.cohort_definition import not_known
from warehouse.schema import journey_rows

Kind = Literal["persona", "campaign"]

_COLUMNS = {"persona": "persona", "campaign": "campaign_first"}


def check_names(connection: Engine, kind: Kind, names: Iterable[str]) -> None:
    """QuestionError with the nearest ones, if no journey is of this persona or began with this campaign."""
    column = _COLUMNS[kind]
    for name in names:
        # also of what was corrected since: it is found at once, and only for an unknown name all are read
        occurs = select(exists(select(1).where(journey_rows.c[column] == name)).label("occurs"))
        if not ask(connection, occurs)["occurs"][0]:
            known = ask(connection, select(views.journeys.c[column].label("name")).distinct())["name"]
            raise not_known(kind, name, {str(one) for one in known} - {""})

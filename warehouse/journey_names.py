"""The names that journeys are chosen by: personas and campaigns that occur."""

from collections.abc import Iterable
from typing import Literal

from sqlalchemy import Engine, exists, select

from warehouse import views
from warehouse.answer import ask
from warehouse.cohort_definition import not_known

Kind = Literal["persona", "campaign"]

_COLUMNS = {"persona": "persona", "campaign": "campaign_first"}


def check_names(connection: Engine, kind: Kind, names: Iterable[str]) -> None:
    """QuestionError with the nearest ones, if no journey is of this persona or began with this campaign."""
    column = _COLUMNS[kind]
    for name in names:
        # most names are found at once; all are read for an unknown one only
        occurs = select(exists(select(1).where(views.journeys.c[column] == name)).label("occurs"))
        if not ask(connection, occurs)["occurs"][0]:
            known = ask(connection, select(views.journeys.c[column].label("name")).distinct())["name"]
            raise not_known(kind, name, {str(one) for one in known} - {""})

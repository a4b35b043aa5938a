"""Cohorts: saved definitions of who belongs together."""

from sqlalchemy import Engine

from warehouse.answer import QuestionError
from warehouse.scope import Members


def find(connection: Engine, name: str) -> Members:
    """The saved cohort of a name. QuestionError suggests the nearest."""
    raise QuestionError(f'cohort "{name}" is not known', remedy="No cohorts are saved.")

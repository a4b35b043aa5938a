"""Which journey model the rows of a warehouse were judged under: an analysis that knows phases asks for it."""

from functools import lru_cache

from sqlalchemy import Engine, column, text
from sqlalchemy.exc import DatabaseError

from models.journey_model import JourneyModel, default_model, load_model
from warehouse.connection import DATABASE

_NOT_THERE = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE")
_CURRENT = text(
    f"select text from {DATABASE}.journey_models final where state = 'current' order by number desc limit 1"  # noqa: S608
).columns(column("text"))


def registered_model(connection: Engine) -> JourneyModel | None:
    """The model that is current; None: none was registered. JourneyModelError if this version of desireline
    does not take it any more.
    """
    try:
        with connection.connect() as asking:
            said = asking.execute(_CURRENT).scalar()
    except DatabaseError as error:
        if not any(reason in str(error) for reason in _NOT_THERE):
            raise
        return None
    return _read(str(said)) if said else None


def model_of(connection: Engine) -> JourneyModel:
    """The model that is current; the default one where none was registered."""
    return registered_model(connection) or default_model()


@lru_cache(maxsize=8)
def _read(said: str) -> JourneyModel:
    return load_model(said, where="the warehouse's current journey model")

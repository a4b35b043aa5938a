"""Which journey model the rows of a warehouse were judged under: an analysis that knows phases asks for it."""

from functools import lru_cache

from sqlalchemy import Engine, text

from models.journey_model import JourneyModel, default_model, load_model
from warehouse.connection import DATABASE

_THERE = text(f"exists table {DATABASE}.journey_models")
_CURRENT = text(
    f"select text from {DATABASE}.journey_models final where state = 'current' order by number desc limit 1"  # noqa: S608
)


def registered_model(connection: Engine) -> JourneyModel | None:
    """The model that is current; None: none was registered. JourneyModelError if this version of desireline
    does not take it any more.
    """
    with connection.connect() as asking:
        said = asking.execute(_CURRENT).scalar() if asking.execute(_THERE).scalar() else None
    return _read(str(said)) if said else None


def model_of(connection: Engine) -> JourneyModel:
    """The model that is current; the default one where none was registered."""
    return registered_model(connection) or default_model()


@lru_cache(maxsize=8)
def _read(said: str) -> JourneyModel:
    return load_model(said, where="the warehouse's current journey model")

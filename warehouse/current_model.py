"""Which journey model the rows of a warehouse were judged under: an analysis that knows phases asks for it."""

from functools import lru_cache
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from models.journey_model import JourneyModel, default_model, load_model
from warehouse.connection import DATABASE

_NOT_THERE = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE")
# one row in any case: of no rows the driver would ask again for their columns
_CURRENT = text(
    f"select argMax(text, number) from {DATABASE}.journey_models final where state = 'current'"  # noqa: S608
)

_known: WeakKeyDictionary[Engine, JourneyModel] = WeakKeyDictionary()


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
    model = _known[connection] = registered_model(connection) or default_model()
    return model


def known_model(connection: Engine) -> JourneyModel:
    """The model that was current when it was last asked for: what to begin with before it is asked for again."""
    return _known.get(connection) or default_model()


@lru_cache(maxsize=8)
def _read(said: str) -> JourneyModel:
    return load_model(said, where="the warehouse's current journey model")

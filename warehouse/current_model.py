"""Which journey model the rows of a warehouse were judged under: an analysis that knows phases asks for it."""

from functools import lru_cache

from sqlalchemy import Engine, text

from models.journey_model import JourneyModel, default_model, load_model

_CURRENT = text("select text from journey_models final where state = 'current' order by number desc limit 1")


def model_of(connection: Engine) -> JourneyModel:
    """The current model; the default one where none was registered yet, or the tables are not made."""
    with connection.connect() as asking:
        if not asking.execute(text("exists table journey_models")).scalar():
            return default_model()
        said = asking.execute(_CURRENT).scalar()
    return _read(str(said)) if said else default_model()


@lru_cache(maxsize=8)
def _read(said: str) -> JourneyModel:
    return load_model(said, where="the warehouse's current journey model")

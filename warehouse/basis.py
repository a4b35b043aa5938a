"""What an answer stands on: up to when touchpoints have arrived, and the journey model that rows were judged under.

Both are asked once, before an answer's first question: what arrives in between makes it true for longer, never for
less, and its questions agree on what is still open.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from models.journey_model import JourneyModel, default_model, load_model
from warehouse.connection import DATABASE
from warehouse.journey_models import CURRENT_FINGERPRINT

# of one partition the greatest counts, whatever ClickHouse has merged so far
_WATERMARK = f"select toUnixTimestamp64Milli(min(watermark)) from {DATABASE}.watermarks final"  # noqa: S608
_BOTH = text(f"select ({_WATERMARK}), ({CURRENT_FINGERPRINT})")
_NO_MODELS = text(f"select ({_WATERMARK}), ''")
_TEXT = text(f"select any(text) from {DATABASE}.journey_models where fingerprint = :fingerprint")  # noqa: S608
_NOT_THERE = "UNKNOWN_TABLE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Basis(NamedTuple):
    """What answers stand on at one moment.

    `watermark`: event time, UTC, up to which the touchpoints of all partitions have arrived; None: none have.
    `fingerprint`: of the current journey model; empty: none was registered.
    """

    watermark: datetime | None
    fingerprint: str


_OF_THIS_ANSWER: ContextVar[Basis | None] = ContextVar("basis", default=None)
_models: dict[str, JourneyModel] = {}  # by fingerprint, those that were asked for


@contextmanager
def one_basis(connection: Engine) -> Iterator[None]:
    """For the time of a `with`, what stood before its first question."""
    if _OF_THIS_ANSWER.get() is not None:
        yield
        return
    token = _OF_THIS_ANSWER.set(_basis(connection))
    try:
        yield
    finally:
        _OF_THIS_ANSWER.reset(token)


def watermark(connection: Engine) -> datetime | None:
    """Event time, UTC, up to which the touchpoints of all partitions have arrived; None: none have."""
    return (_OF_THIS_ANSWER.get() or _basis(connection)).watermark


def model_of(connection: Engine) -> JourneyModel:
    """The journey model that is current; the default one where none was registered.

    JourneyModelError if this version of desireline does not take it any more.
    """
    fingerprint = (_OF_THIS_ANSWER.get() or _basis(connection)).fingerprint
    if not fingerprint:
        return default_model()
    if fingerprint not in _models:
        with connection.connect() as asking:
            said = str(asking.execute(_TEXT, {"fingerprint": fingerprint}).scalar())
        _models[fingerprint] = load_model(said, where="the warehouse's current journey model")
    return _models[fingerprint]


def _basis(connection: Engine) -> Basis:
    with connection.connect() as asking:
        try:
            at, fingerprint = asking.execute(_BOTH).one()
        except DatabaseError as error:
            # a warehouse that was not migrated since it is known which model its rows were judged under
            if _NOT_THERE not in str(error) or "journey_models" not in str(error):
                raise
            at, fingerprint = asking.execute(_NO_MODELS).one()
    return Basis(_EPOCH + timedelta(milliseconds=at) if at else None, fingerprint)

"""Which journey model applies: the one that the warehouse says is current, since its rows were judged under it."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desireline.settings import Settings
from models.errors import DesirelineError
from models.journey_model import JourneyModel, default_model, load_model, template, templates

if TYPE_CHECKING:
    from warehouse.journey_models import RegisteredModel

log = logging.getLogger(__name__)

_TRY_EVERY_S = 0.5
_LOOK_EVERY_S = 0.1
_SAY_EVERY_S = 30.0


def configured_model(settings: Settings) -> JourneyModel:
    """The journey model that is set: of a file, or one that we ship. JourneyModelError: file and line."""
    if not settings.journey_model:
        return default_model()
    return load_model(configured_model_text(settings), where=settings.journey_model)


def configured_model_text(settings: Settings) -> str:
    """Its YAML. DesirelineError if it is no text."""
    name = settings.journey_model or "default"
    if name in templates():
        return template(name)
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DesirelineError(f"this is no text: {error}", where=name) from error


def await_current(settings: Settings) -> "RegisteredModel | None":
    """The current model; the one that is set becomes it where there is none. None: no tables are made yet.

    Waits for a warehouse that does not answer: a worker that judged under another model meanwhile would have
    to say all of it again.
    """
    from warehouse.connection import client
    from warehouse.journey_models import register_first
    from warehouse.write_errors import WarehouseError, warehouse_errors

    text, where = configured_model_text(settings), settings.journey_model or "default.yaml"
    given = load_model(text, where=where)
    said_at = 0.0
    while True:
        try:
            with warehouse_errors("journey_models"), client(settings.warehouse_url) as connected:
                if not connected.command("EXISTS TABLE journey_models"):
                    return None
                known = register_first(connected, text, where=where)
            break
        except WarehouseError as error:
            if time.monotonic() - said_at > _SAY_EVERY_S or not said_at:
                said_at = time.monotonic()
                log.warning("waiting for the warehouse, which knows the current journey model: %s", error)
            time.sleep(_TRY_EVERY_S)
    if settings.journey_model and given != known.model:
        log.warning(
            "%s is not the current journey model, which is used; `desireline rebuild --model` changes it",
            where,
        )
    return known


def current_or_set(settings: Settings, *, patience_s: float = 0) -> JourneyModel:
    """The current model, or the one that is set if the warehouse knows none or does not answer.

    `patience_s`: how long a warehouse that is being started is waited for.
    """
    from warehouse.connection import client
    from warehouse.journey_models import current
    from warehouse.write_errors import WarehouseAway, WarehouseError, warehouse_errors

    deadline = time.monotonic() + patience_s
    while True:
        try:
            with warehouse_errors("journey_models"), client(settings.reader_url) as connected:
                known = current(connected)
        except WarehouseAway:
            if time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY_S)
                continue
            known = None
        except WarehouseError:
            known = None
        return known.model if known else configured_model(settings)


def identifiers_read_by(model: JourneyModel) -> tuple[Any, ...]:
    """What the collector reads touchpoints by: whom they name, which types and channels there are."""
    return (
        model.identifier_kinds,
        model.placeholders,
        model.placeholders_by_kind,
        model.phone_region,
        model.clock_tolerance_ms,
        frozenset(model.profiles),
        model.channels,
    )

"""The journey models that the warehouse's rows were judged under, and which of them is current.

The warehouse says which model is current, and workers take it from there when they start: so all of them judge
alike, and what stands was judged under one model. `desireline rebuild --model` changes it, together with the
tables (`warehouse.judged_tables`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal

import msgspec
from clickhouse_connect.driver.client import Client

from models.journey_model import JourneyModel, load_model
from warehouse import schema
from warehouse.connection import DATABASE, insert_row

State = Literal["current", "building", "retired"]

_COLUMNS = ("number", "fingerprint", "state", "text", "registered_at", "changed_at", "version")

CURRENT_FINGERPRINT = (
    f"select argMax(fingerprint, number) from {DATABASE}.journey_models final where state = 'current'"  # noqa: S608
)


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `journey_models`."""

    number: int
    fingerprint: str
    state: State
    text: str
    registered_at: datetime
    changed_at: datetime
    version: int

    @property
    def model(self) -> JourneyModel:
        """The model, parsed. JourneyModelError if this version of desireline does not take it any more."""
        return load_model(self.text, where=f"journey model {self.number} of the warehouse")


def fingerprint(model: JourneyModel) -> str:
    """A hash of what a model says; comments and the order of its text are no part of that."""
    # every process must say the same: sets are in an order of their own in each
    said = msgspec.to_builtins(model, order="deterministic")
    if not model.own_channels:
        del said["own_channels"]  # so that models of before they could be said are still themselves
    return blake2b(msgspec.json.encode(said), digest_size=8).hexdigest()


def registered(client: Client) -> list[RegisteredModel]:
    """All that were ever registered, by number; none where the tables are not made yet."""
    if not client.command(f"EXISTS TABLE {DATABASE}.journey_models"):
        return []
    rows = client.query(
        f"select {', '.join(_COLUMNS)} from {DATABASE}.journey_models final order by number",  # noqa: S608
        tz_mode="aware",
    ).result_rows
    return [RegisteredModel(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def in_state(known: Sequence[RegisteredModel], state: State) -> RegisteredModel | None:
    """The latest that is in a state."""
    return next((one for one in reversed(known) if one.state == state), None)


def current(client: Client) -> RegisteredModel | None:
    """The model that is current; None before the first was registered."""
    return in_state(registered(client), "current")


def current_fingerprint(client: Client) -> str:
    """Of the model that is current; empty before the first was registered. One small question."""
    return str(client.command(CURRENT_FINGERPRINT))


def register_first(client: Client, text: str, *, where: str) -> RegisteredModel:
    """The current model; this one if there was none, since its rows were judged under what is set."""
    if (known := current(client)) is not None:
        return known
    return register(client, text, where=where, number=schema.FIRST_MODEL, state="current")


def register(client: Client, text: str, *, where: str, number: int, state: State) -> RegisteredModel:
    """Write down a model. JourneyModelError names file and line."""
    now = datetime.now(UTC)
    new = RegisteredModel(
        number=number,
        fingerprint=fingerprint(load_model(text, where=where)),
        state=state,
        text=text,
        registered_at=now,
        changed_at=now,
        version=1,
    )
    insert_row(client, "journey_models", msgspec.structs.asdict(new))
    return new


def change_state(client: Client, model: RegisteredModel, state: State) -> RegisteredModel:
    """The model, from now on in this state."""
    changed = msgspec.structs.replace(
        model, state=state, changed_at=datetime.now(UTC), version=model.version + 1
    )
    insert_row(client, "journey_models", msgspec.structs.asdict(changed))
    return changed

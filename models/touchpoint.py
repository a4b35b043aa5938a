"""The elements that a household's state is made of: touchpoints, identifications, corrections.

Instants (`…_at`) are UTC milliseconds since 1970, durations (`…_ms`) milliseconds, amounts decimal strings in
major units with their ISO 4217 currency. On the wire every element is a JSON object whose `schema` says which
one it is; optional fields that say nothing are left out.
"""

from typing import Any, Literal

import msgspec

from models.identifier import Identifier

TimeQuality = Literal["source", "skew_corrected", "received"]


class Page(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The page that a web touchpoint happened on."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    search: str | None = None


class Campaign(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The campaign that brought the touchpoint about."""

    name: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None
    click_ids: dict[str, str] = {}


class Device(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the customer held in hand."""

    type: str | None = None
    os: str | None = None
    browser: str | None = None
    ip_country: str | None = None
    user_agent: str | None = None


class Agent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who of the company took part: person, queue, team."""

    id: str | None = None
    queue: str | None = None
    team: str | None = None


class Consent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the customer agreed to; None is unknown."""

    analytics: bool | None = None
    marketing: bool | None = None
    personalisation: bool | None = None
    basis: str | None = None
    at: int | None = None


class Touchpoint(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    omit_defaults=True,
    tag_field="schema",
    tag="touchpoint/1",
):
    """One thing that happened between a customer and the company, on a channel, at an event time."""

    id: str
    source: str
    source_instance: str
    source_event_id: str
    source_type: str
    channel: str
    type: str
    occurred_at: int
    received_at: int
    identifiers: tuple[Identifier, ...]
    time_quality: TimeQuality = "source"
    source_updated_at: int | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    direction: Literal["inbound", "outbound", "internal"] | None = None
    outcome: (
        Literal["success", "failure", "abandoned", "resolved", "transferred", "timeout", "pending", "unknown"]
        | None
    ) = None
    outcome_reason: str | None = None
    wait_ms: int | None = None
    hold_ms: int | None = None
    talk_ms: int | None = None
    duration_ms: int | None = None
    transfers: int | None = None
    attempts: int | None = None
    csat: float | None = None
    nps: int | None = None
    ces: float | None = None
    sentiment: float | None = None
    sentiment_source: Literal["vendor", "model", "survey"] | None = None
    amount: str | None = None
    currency: str | None = None
    items: tuple[dict[str, Any], ...] = ()
    page: Page | None = None
    campaign: Campaign | None = None
    device: Device | None = None
    locale: str | None = None
    timezone: str | None = None
    persona: str | None = None
    segments: tuple[str, ...] = ()
    consent: Consent | None = None
    agent: Agent | None = None
    topic: str | None = None
    text: str | None = None
    properties: dict[str, Any] = {}
    raw_ref: str | None = None

    @property
    def order(self) -> tuple[int, str]:
        """Touchpoints are in this order everywhere, in Python and in SQL."""
        return self.occurred_at, self.id


class Identification(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    omit_defaults=True,
    tag_field="schema",
    tag="identification/1",
):
    """Identifiers seen together without anything having happened: identify, alias, group, a contact's update.

    Links its strongest identifier to each other one, at `at`.
    """

    id: str
    source: str
    source_instance: str
    channel: str
    at: int
    received_at: int
    identifiers: tuple[Identifier, ...]
    reason: str = "identify"
    persona: str | None = None
    segments: tuple[str, ...] = ()
    raw_ref: str | None = None


class Correction(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    omit_defaults=True,
    tag_field="schema",
    tag="correction/1",
):
    """What a person decided about two identifiers: the same customer, or not, or neither any more."""

    id: str
    relation: Literal["same", "not_same", "undone"]
    identifiers: tuple[Identifier, Identifier]
    at: int
    author: str
    reason: str | None = None


class Clock(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="schema", tag="clock/1"):
    """The end of a file load: moves the watermark of the partition it is sent to. Never part of a state."""

    at: int
    source: str


Element = Touchpoint | Identification | Correction
Record = Touchpoint | Identification | Correction | Clock
"""What a record of a channel's topic holds, singly or as an array."""

_canonical = msgspec.json.Encoder(order="deterministic")


def encoding(element: Element) -> bytes:
    """The canonical encoding: two elements are the same if these bytes are."""
    return _canonical.encode(element)

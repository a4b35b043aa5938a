"""The sections of a journey model: what each holds. docs/journey-model.md explains every field.

How they are read from YAML stands in `models.model_reading`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import msgspec

Score = Literal["csat", "ces", "nps", "rating", "sentiment"]
PainKind = Literal[
    "failure", "payment_failed", "long_wait", "long_hold", "low_score", "negative_sentiment",
    "repeat_contact", "channel_switch", "transfer", "loop", "complaint", "refund", "abandonment",
]  # fmt: skip
PAIN_KINDS: tuple[PainKind, ...] = get_args(PainKind)
DelightKind = Literal[
    "high_score", "positive_sentiment", "fast_answer", "first_contact_resolution", "reward", "advocacy"
]
DELIGHT_KINDS: tuple[DelightKind, ...] = get_args(DelightKind)


class AttemptKind(msgspec.Struct, frozen=True):
    """A unit of work that can be abandoned."""

    kind: str
    opened_by: str
    completed_by: frozenset[str]
    abandoned_by: frozenset[str]
    patience_ms: int
    severity: float  # of its abandonment


class PainRules(msgspec.Struct, frozen=True):
    """Thresholds and severities of the pain points; `severity` by kind, 0–1."""

    severity: Mapping[str, float]
    failure_outcomes: frozenset[str]
    failure_types: frozenset[str]
    payment_failed_types: frozenset[str]
    long_wait_ms: Mapping[str, int]  # by channel, at least
    long_hold_ms: Mapping[str, int]
    csat: float  # at most, as the two that follow
    nps: float
    ces: float
    sentiment: float
    repeat_contact_ms: int
    switches: frozenset[tuple[str, str]]  # (channel of the touchpoint before, channel of this one)
    transfers: int  # at least
    loop_least: int
    loop_except: frozenset[str]
    complaint_types: frozenset[str]
    complaint_topics: frozenset[str]
    refund_types: frozenset[str]


class DelightRules(msgspec.Struct, frozen=True):
    """Thresholds of the delights."""

    csat: float  # at least, as the three that follow
    nps: float
    ces: float
    sentiment: float
    fast_answer_types: frozenset[str]
    fast_answer_ms: Mapping[str, int]  # by channel, at most
    first_contact_resolution: bool
    reward_types: frozenset[str]
    advocacy_types: frozenset[str]


class Modifiers(msgspec.Struct, frozen=True):
    """What moves a touchpoint's weight away from its type's."""

    wait_beyond_ms: int
    wait_each_ms: int
    wait_weight: float
    wait_most: float
    hold_beyond_ms: int
    hold_each_ms: int
    hold_weight: float
    hold_most: float
    transfers_beyond: int
    transfer_weight: float
    repeated_failure_ms: int
    repeated_failure_factor: float


class Words(NamedTuple):
    """The names that a model defines and its sections use."""

    phases: tuple[str, ...]
    types: frozenset[str]
    channels: tuple[str, ...]


class Journeys(NamedTuple):
    """What cuts and counts journeys: durations, and types of touchpoint."""

    gap_ms: int
    transaction_gap_ms: int
    closed_by: frozenset[str]
    converted_by: frozenset[str]
    refunded_by: frozenset[str]
    begun_by: frozenset[str]
    resolved_by: frozenset[str]


class Time(NamedTuple):
    """How late, how far ahead and how old touchpoints may be."""

    allowed_lateness_ms: int
    clock_tolerance_ms: int
    history_ms: int


class Identity(NamedTuple):
    """What tells customers apart; placeholders in lower case, by kind or `any`."""

    order: tuple[str, ...]
    exclusive: frozenset[str]
    max_household: int
    phone_region: str | None
    placeholders: Mapping[str, frozenset[str]]

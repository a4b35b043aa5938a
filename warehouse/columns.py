"""Facts as the columns of the tables: rows of sixty columns as dictionaries would cost ten times as much."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from models.alerts import Alert
from models.touchpoint import Correction, Identification, Touchpoint
from models.verdict import ConflictRow, DuplicateRow, IdentityRow, JourneyRow, JudgedTouchpoint
from warehouse.rows import Archived, Rejected

DAY_MS = 86_400_000
CONFLICTING_DUPLICATE = "conflicting_duplicate"

Columns = dict[str, list[Any]]

_json = msgspec.json.Encoder(order="deterministic").encode


def element_columns(rows: Sequence[Archived]) -> Columns:
    """Columns of `element_rows`."""
    elements = [row.element for row in rows]
    instants = [one.occurred_at if isinstance(one, Touchpoint) else one.at for one in elements]
    return {
        "kind": [row.kind for row in rows],
        "occurred_on": [at // DAY_MS for at in instants],
        "id": [one.id for one in elements],
        "identifiers": [[identifier.key for identifier in one.identifiers] for one in elements],
        "element": [row.content.decode() for row in rows],
    }


def touchpoint_columns(rows: Sequence[JudgedTouchpoint]) -> Columns:
    """Columns of `touchpoint_rows`."""
    ts = [row.touchpoint for row in rows]
    vs = [row.verdict for row in rows]
    pages = [t.page for t in ts]
    campaigns = [t.campaign for t in ts]
    agents = [t.agent for t in ts]
    drops = [v.drop_off for v in vs]
    return {
        "occurred_on": [t.occurred_at // DAY_MS for t in ts],
        "id": [t.id for t in ts],
        "occurred_at": [t.occurred_at for t in ts],
        "received_at": [t.received_at for t in ts],
        "source": [t.source for t in ts],
        "source_instance": [t.source_instance for t in ts],
        "source_event_id": [t.source_event_id for t in ts],
        "source_type": [t.source_type for t in ts],
        "source_updated_at": [t.source_updated_at for t in ts],
        "channel": [t.channel for t in ts],
        "type": [t.type for t in ts],
        "identifiers": [[identifier.key for identifier in t.identifiers] for t in ts],
        "session_id": [t.session_id or "" for t in ts],
        "conversation_id": [t.conversation_id or "" for t in ts],
        "direction": [t.direction or "" for t in ts],
        "outcome": [t.outcome or "" for t in ts],
        "outcome_reason": [t.outcome_reason or "" for t in ts],
        "wait_ms": [t.wait_ms for t in ts],
        "hold_ms": [t.hold_ms for t in ts],
        "talk_ms": [t.talk_ms for t in ts],
        "duration_ms": [t.duration_ms for t in ts],
        "transfers": [t.transfers for t in ts],
        "csat": [t.csat for t in ts],
        "nps": [t.nps for t in ts],
        "ces": [t.ces for t in ts],
        "sentiment": [t.sentiment for t in ts],
        "amount": [None if t.amount is None else Decimal(t.amount) for t in ts],
        "currency": [t.currency or "" for t in ts],
        "page_url": [(p.url or "") if p else "" for p in pages],
        "page_path": [(p.path or "") if p else "" for p in pages],
        "page_title": [(p.title or "") if p else "" for p in pages],
        "page_referrer": [(p.referrer or "") if p else "" for p in pages],
        "campaign": [(c.name or "") if c else "" for c in campaigns],
        "campaign_source": [(c.source or "") if c else "" for c in campaigns],
        "campaign_medium": [(c.medium or "") if c else "" for c in campaigns],
        "campaign_term": [(c.term or "") if c else "" for c in campaigns],
        "campaign_content": [(c.content or "") if c else "" for c in campaigns],
        "device_type": [(t.device.type or "") if t.device else "" for t in ts],
        "locale": [t.locale or "" for t in ts],
        "timezone": [t.timezone or "" for t in ts],
        "persona": [t.persona or "" for t in ts],
        "segments": [t.segments for t in ts],
        "agent_id": [(a.id or "") if a else "" for a in agents],
        "queue": [(a.queue or "") if a else "" for a in agents],
        "team": [(a.team or "") if a else "" for a in agents],
        "topic": [t.topic or "" for t in ts],
        "text": [t.text or "" for t in ts],
        "properties": [_json(t.properties).decode() if t.properties else "{}" for t in ts],
        "time_quality": [t.time_quality for t in ts],
        "raw_ref": [t.raw_ref or "" for t in ts],
        "customer_id": [v.customer_id for v in vs],
        "journey_id": [v.journey_id for v in vs],
        "ordinal": [v.ordinal for v in vs],
        "phase": [v.phase for v in vs],
        "phase_move": [v.phase_move for v in vs],
        "transaction_id": [v.transaction_id for v in vs],
        "customer_already": [v.customer_already for v in vs],
        "converts": [v.converts for v in vs],
        "weight": [v.weight for v in vs],
        "moment_of_truth": [v.moment_of_truth for v in vs],
        "pain_kinds": [[p.kind for p in v.pain_points] for v in vs],
        "pain_severities": [[p.severity for p in v.pain_points] for v in vs],
        "delight_kinds": [v.delights for v in vs],
        "attempt_kinds": [[a.kind for a in v.attempts] for v in vs],
        "attempt_outcomes": [[a.outcome for a in v.attempts] for v in vs],
        "attempt_ended_ats": [[a.ended_at for a in v.attempts] for v in vs],
        "attempt_recovered_ats": [[a.recovered_at for a in v.attempts] for v in vs],
        "drop_off_at": [d and d.at for d in drops],
        "drop_off_recovered_at": [d and d.recovered_at for d in drops],
        "drop_off_pain_kind": [(d and d.pain_kind) or "" for d in drops],
        "drop_off_pain_touchpoint_id": [(d and d.pain_touchpoint_id) or "" for d in drops],
        "version": [row.version for row in rows],
        "deleted": [row.deleted for row in rows],
    }


def journey_columns(rows: Sequence[JourneyRow]) -> Columns:
    """Columns of `journey_rows`: the row as it is, and the day of its first touchpoint."""
    columns: Columns = {"started_on": [row.started_at // DAY_MS for row in rows]}
    for name in JourneyRow.__struct_fields__:
        columns[name] = [getattr(row, name) for row in rows]
    columns["campaign_first"] = [row.campaign_first or "" for row in rows]
    columns["campaign_last"] = [row.campaign_last or "" for row in rows]
    columns["persona"] = [row.persona or "" for row in rows]
    columns["drop_off_phase"] = [row.drop_off_phase or "" for row in rows]
    columns["values"] = [{c: Decimal(value) for c, value in row.values.items()} for row in rows]
    return columns


def identity_columns(rows: Sequence[IdentityRow]) -> Columns:
    """Columns of `identity_rows`."""
    return {name: [getattr(row, name) for row in rows] for name in IdentityRow.__struct_fields__}


def conflict_columns(rows: Sequence[ConflictRow]) -> Columns:
    """Columns of `identity_conflict_rows`."""
    return {name: [getattr(row, name) for row in rows] for name in ConflictRow.__struct_fields__}


def identification_columns(rows: Sequence[Identification | Correction]) -> Columns:
    """Columns of `identification_rows`."""
    return {
        "id": [row.id for row in rows],
        "at": [row.at for row in rows],
        "kind": [row.relation if isinstance(row, Correction) else "identification" for row in rows],
        "identifiers": [[identifier.key for identifier in row.identifiers] for row in rows],
        "element": [_json(row).decode() for row in rows],
    }


def duplicate_columns(rows: Sequence[DuplicateRow]) -> Columns:
    """Columns of `rejected_touchpoint_rows` for copies of a touchpoint that lost against another one."""
    digests = [sha256(row.content.encode()).hexdigest() for row in rows]
    return {
        "id": [f"{row.id}:{digest[:16]}" for row, digest in zip(rows, digests, strict=True)],
        "received_at": [row.received_at for row in rows],
        "reason": [CONFLICTING_DUPLICATE] * len(rows),
        "detail": [f"touchpoint {row.id} came with another content, which counts" for row in rows],
        "source": [row.source for row in rows],
        "source_instance": [""] * len(rows),
        "channel": [row.channel for row in rows],
        "raw_ref": [""] * len(rows),
        "content": [row.content for row in rows],
        "sha256": digests,
        "version": [row.version for row in rows],
        "deleted": [row.deleted for row in rows],
    }


def rejection_columns(rows: Sequence[Rejected]) -> Columns:
    """Columns of `rejected_touchpoint_rows`."""
    return {
        "id": [row.id for row in rows],
        "received_at": [row.received_at for row in rows],
        "reason": [row.reason for row in rows],
        "detail": [row.detail or "" for row in rows],
        "source": [row.source or "" for row in rows],
        "source_instance": [row.source_instance or "" for row in rows],
        "channel": [row.channel or "" for row in rows],
        "raw_ref": [row.raw_ref or "" for row in rows],
        "content": [row.content for row in rows],
        "sha256": [row.sha256 or "" for row in rows],
        "version": [1] * len(rows),
        "deleted": [False] * len(rows),
    }


def alert_columns(rows: Sequence[Alert]) -> Columns:
    """Columns of `alert_rows`."""
    return {
        "id": [row.id for row in rows],
        "kind": [row.kind for row in rows],
        "channel": [row.channel for row in rows],
        "opened_at": [row.opened_at for row in rows],
        "resolved_at": [row.resolved_at for row in rows],
        "observed_rate": [row.observed_rate for row in rows],
        "expected_rate": [row.expected_rate for row in rows],
        "attempts": [row.attempts for row in rows],
        "abandoned": [row.abandoned for row in rows],
        "probability": [f"{row.probability:.3g}" for row in rows],
        "message": [row.message for row in rows],
        "version": [1 if row.resolved_at is None else 2 for row in rows],
    }


def watermark_columns(watermarks: Mapping[int, int]) -> Columns:
    """Columns of `watermarks`: partition to UTC ms."""
    return {"partition": list(watermarks), "watermark": list(watermarks.values())}

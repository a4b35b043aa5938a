"""The tables, each defined once: for the embedded engine, for a cluster, and for queries.

What the stream writes lies in tables called `…_rows`: a row is replaced as a whole by the one of its key
with the
greater version, and until ClickHouse has merged them both are there. People read the views of the plain names
(`warehouse.views`), which show each row once.

What is said under one journey model lies apart from what is said under another (`JUDGED`): the tables of the
plain names hold the rows of the current model, those beside them the rows of the one that is being built or was
current before. Each row names its model, and each table refuses the rows of any other (`warehouse.ddl`).
"""

from typing import Any

from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import (
    Array,
    Bool,
    Date,
    DateTime,
    DateTime64,
    Decimal,
    Float32,
    Float64,
    LowCardinality,
    Map,
    Nullable,
    String,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
)
from clickhouse_connect.cc_sqlalchemy.ddl.tableengine import ReplacingMergeTree
from sqlalchemy import Column, MetaData, Table

metadata = MetaData()

INSTANT = DateTime64(3, "UTC")
MINUTE = DateTime("UTC")
WORD = LowCardinality(String)
AMOUNT = Decimal(18, 4)

_TIME = "Delta, ZSTD(1)"
_LONG = "ZSTD(3)"

# for who asks for a row or two, all of whose columns are read: of 1,024 rows, and not of 8,192
SMALL_STEPS = {"index_granularity": 1024}


def _column(name: str, kind: Any, comment: str, codec: str | None = None) -> Column[Any]:
    options: dict[str, Any] = {"clickhousedb_codec": codec} if codec else {}
    return Column(name, kind, comment=comment, **options)


def _version() -> Column[Any]:
    return _column(
        "version", UInt64, "(elements seen, watermark in ms) as one number: the row that saw more wins"
    )


def _model() -> Column[Any]:
    return _column("model", UInt16, "number of the journey model it was judged under; see journey_models")


def _deleted(meaning: str) -> Column[Any]:
    return _column("deleted", UInt8, f"1: tombstone, {meaning}; hidden by the view")


touchpoint_rows = Table(
    "touchpoint_rows",
    metadata,
    _column("occurred_on", Date, "day of occurred_at, UTC; first part of the key"),
    _column("id", String, "deterministic id of the touchpoint; second part of the key"),
    _column("occurred_at", INSTANT, "when it happened, by the source, UTC", _TIME),
    _column("received_at", INSTANT, "when we received it, UTC", _TIME),
    _column("source", WORD, "kind of sender, e.g. segment, stripe"),
    _column("source_instance", WORD, "configured name of the write key, endpoint or file"),
    _column("source_event_id", String, "the sender's own id of it", "ZSTD(1)"),
    _column("source_type", WORD, "the sender's own name for what happened"),
    _column(
        "source_updated_at",
        Nullable(INSTANT),
        "when the source last changed it, UTC; the latest counts; NULL: a source that never sends again",
        _TIME,
    ),
    _column("channel", WORD, "channel of the interaction: web, chat, voice, billing"),
    _column("type", WORD, "what happened, a word of the vocabulary"),
    _column("identifiers", Array(String), "names of the person on it, each kind:value", "ZSTD(1)"),
    _column("session_id", String, "web session; empty: none said", "ZSTD(1)"),
    _column("conversation_id", String, "chat, call, ticket or invoice chain; empty: none said", "ZSTD(1)"),
    _column("direction", WORD, "inbound, outbound, internal; empty: not said"),
    _column("outcome", WORD, "success, failure, abandoned, resolved, …; empty: not said"),
    _column("outcome_reason", WORD, "the sender's code for the outcome; empty: none"),
    _column("wait_ms", Nullable(UInt32), "waiting for a human, ms; NULL: not a contact"),
    _column("hold_ms", Nullable(UInt32), "on hold after the answer, ms; NULL: not said"),
    _column("talk_ms", Nullable(UInt32), "talking or interacting, ms; NULL: not said"),
    _column("duration_ms", Nullable(UInt32), "the whole interaction, ms; NULL: not said"),
    _column("transfers", Nullable(UInt16), "how often it was handed on; NULL: not said"),
    _column("csat", Nullable(Float32), "satisfaction, 1 to 5; NULL: not asked"),
    _column("nps", Nullable(Float32), "likelihood to recommend, 0 to 10; NULL: not asked"),
    _column("ces", Nullable(Float32), "ease, 1 to 7; NULL: not asked"),
    _column("sentiment", Nullable(Float32), "sentiment by the sender, -1 to 1; NULL: not measured"),
    _column("amount", Nullable(AMOUNT), "amount in major units of the currency; NULL: no money in it"),
    _column("currency", WORD, "ISO 4217 code of amount; empty: no money in it"),
    _column("page_url", String, "address of the page, secrets taken out; empty: no page", "ZSTD(1)"),
    _column("page_path", String, "path of the page; empty: no page", "ZSTD(1)"),
    _column("page_title", String, "title of the page; empty: none", "ZSTD(1)"),
    _column("page_referrer", String, "where the visitor came from; empty: unknown", "ZSTD(1)"),
    _column("campaign", WORD, "name of the campaign; empty: none"),
    _column("campaign_source", WORD, "utm_source; empty: none"),
    _column("campaign_medium", WORD, "utm_medium; empty: none"),
    _column("campaign_term", WORD, "utm_term; empty: none"),
    _column("campaign_content", WORD, "utm_content; empty: none"),
    _column("device_type", WORD, "desktop, mobile, …; empty: unknown"),
    _column("locale", WORD, "language and country, e.g. en-GB; empty: unknown"),
    _column("timezone", WORD, "IANA time zone of the customer; empty: unknown"),
    _column("persona", WORD, "buyer persona; empty: none said"),
    _column("segments", Array(WORD), "segment tags"),
    _column("agent_id", WORD, "employee who took part; empty: none"),
    _column("queue", WORD, "queue it waited in; empty: none"),
    _column("team", WORD, "team that took part; empty: none"),
    _column("topic", WORD, "what the contact was about; empty: not said"),
    _column("text", String, "message or remark, redacted; empty: none", _LONG),
    _column("properties", String, "what else the sender said, a JSON object", _LONG),
    _column("time_quality", WORD, "source, skew_corrected (device clock), received (no time was said)"),
    _column("raw_ref", String, "where the untouched payload lies in the spool; empty: nowhere", _LONG),
    _column("customer_id", String, "strongest identifier of the customer it belongs to", "ZSTD(1)"),
    _column("journey_id", String, "journey it belongs to", "ZSTD(1)"),
    _column("ordinal", UInt32, "place in its journey, from 1"),
    _column("phase", WORD, "phase of the journey it stands in"),
    _column("phase_move", WORD, "enter, forward, back or stay, against the touchpoint before it"),
    _column("transaction_id", String, "service transaction within the journey", "ZSTD(1)"),
    _column("customer_already", Bool, "true: a conversion stands before it in the customer's life cycle"),
    _column("converts", Bool, "true: of a type that makes a customer"),
    _column("weight", Float32, "emotion, -1 pain to +1 delight"),
    _column("moment_of_truth", Bool, "true: of a type at which much is decided"),
    _column("pain_kinds", Array(WORD), "kinds of its pain points"),
    _column("pain_severities", Array(Float32), "severity of each pain point, 0 to 1"),
    _column("delight_kinds", Array(WORD), "kinds of its delights"),
    _column("attempt_kinds", Array(WORD), "kinds of the attempts opened at it"),
    _column("attempt_outcomes", Array(WORD), "open, completed or abandoned, of each attempt"),
    _column("attempt_ended_ats", Array(Nullable(INSTANT)), "when each attempt ended, UTC; NULL: open"),
    _column(
        "attempt_recovered_ats",
        Array(Nullable(INSTANT)),
        "when an abandoned attempt was completed after all, UTC; NULL: it was not",
    ),
    _column("drop_off_at", Nullable(INSTANT), "when the patience after it ran out, UTC; NULL: no drop-off"),
    _column(
        "drop_off_recovered_at",
        Nullable(INSTANT),
        "when the customer came back, UTC; NULL: not, or no drop-off",
    ),
    _column("drop_off_pain_kind", WORD, "kind of the nearest pain point before the drop-off; empty: none"),
    _column("drop_off_pain_touchpoint_id", String, "touchpoint of that pain point; empty: none", "ZSTD(1)"),
    _version(),
    _deleted("the touchpoint now stands on another day"),
    _model(),
    ReplacingMergeTree(
        version="version",
        is_deleted="deleted",
        order_by=("occurred_on", "id"),
        partition_by="toYYYYMM(occurred_on)",
    ),
    comment="One row per touchpoint: its canonical fields and its verdict. Read the view touchpoints.",
)

journey_rows = Table(
    "journey_rows",
    metadata,
    _column("started_on", Date, "day of the first touchpoint, UTC; first part of the key"),
    _column("id", String, "id of the first touchpoint; second part of the key"),
    _column("started_at", INSTANT, "when the first touchpoint happened, UTC", _TIME),
    _version(),
    _deleted("no journey begins at this touchpoint any more"),
    _column("journey_id", String, "hash of the customer and the first touchpoint", "ZSTD(1)"),
    _column("customer_id", String, "strongest identifier of the customer", "ZSTD(1)"),
    _column("ended_at", INSTANT, "when the last touchpoint so far happened, UTC", _TIME),
    _column("closed", Bool, "true: its last touchpoint closes journeys"),
    _column("touchpoint_ids", Array(String), "ids of its touchpoints, in order", "ZSTD(1)"),
    _column("ats", Array(INSTANT), "when each happened, UTC", "ZSTD(1)"),
    _column("types", Array(WORD), "type of each"),
    _column("channels", Array(WORD), "channel of each"),
    _column("phases", Array(WORD), "phase of each"),
    _column("weights", Array(Float32), "emotion of each, -1 to 1"),
    _column("transaction_ids", Array(String), "service transaction of each", "ZSTD(1)"),
    _column("current_phase", WORD, "phase of the last touchpoint"),
    _column("furthest_phase", WORD, "furthest phase that was reached"),
    _column("converted_at", Nullable(INSTANT), "first conversion in the journey, UTC; NULL: none yet"),
    _column("conversions", UInt32, "converting touchpoints in the journey"),
    _column("customer_already", Bool, "true: a conversion stands before the journey"),
    _column("campaign_first", WORD, "campaign of the first touchpoint that has one; empty: none"),
    _column("campaign_last", WORD, "campaign of the last touchpoint that has one; empty: none"),
    _column("persona", WORD, "the latest persona seen in the journey; empty: none"),
    _column("pain_points", UInt32, "pain points in the journey"),
    _column("delights", UInt32, "delights in the journey"),
    _column("attempts_completed", UInt32, "attempts opened in it that were completed"),
    _column("attempts_abandoned", UInt32, "attempts opened in it that were abandoned"),
    _column("attempts_open", UInt32, "attempts opened in it that are open"),
    _column("drop_off_at", Nullable(INSTANT), "the drop-off that ends it so far, UTC; NULL: none"),
    _column("drop_off_phase", WORD, "phase of that drop-off; empty: none"),
    _column("recoveries", UInt32, "drop-offs that the customer came back from"),
    _column("values", Map(String, AMOUNT), "currency to value of the conversions less refunds, major units"),
    _column(
        "shape",
        WORD,
        "way through the phases: linear, non_linear, cyclical; empty: written before it was told",
    ),
    _column(
        "paved_path_distance",
        Nullable(UInt32),
        "detours from the paved path and steps of it that were missed; NULL: the model has no paved path",
    ),
    _column("paved_path_steps", UInt16, "steps of the paved path that were walked, in its order"),
    _model(),
    ReplacingMergeTree(
        version="version",
        is_deleted="deleted",
        order_by=("started_on", "id"),
        partition_by="toYYYYMM(started_on)",
        settings=SMALL_STEPS,
    ),
    comment="One row per journey, arrays in the order of its touchpoints. Read it through the view journeys.",
)

identity_rows = Table(
    "identity_rows",
    metadata,
    _column("identifier", String, "kind:value; the key"),
    _column("customer_id", String, "strongest identifier of the customer it belongs to"),
    _column("household_id", String, "smallest identifier of all that hang together by links"),
    _version(),
    _column("first_linked_at", Nullable(INSTANT), "first seen with another identifier, UTC; NULL: never"),
    _model(),
    ReplacingMergeTree(version="version", order_by="identifier", settings=SMALL_STEPS),
    comment="Whom each identifier belongs to. Read it through the view identities.",
)

identity_conflict_rows = Table(
    "identity_conflict_rows",
    metadata,
    _column("identifier_a", String, "the stronger identifier of the refused link; part of the key"),
    _column("identifier_b", String, "the weaker one; part of the key"),
    _column("at", INSTANT, "when they were seen together, UTC; part of the key"),
    _column("reason", WORD, "exclusive_kind: two of a kind one has once; not_same: a person said so"),
    _column("customer_a", String, "customer of the stronger identifier"),
    _column("customer_b", String, "customer of the weaker one"),
    _version(),
    _deleted("the link is refused no more"),
    _model(),
    ReplacingMergeTree(
        version="version", is_deleted="deleted", order_by=("identifier_a", "identifier_b", "at")
    ),
    comment="Links that would have fused two customers. Read it through the view identity_conflicts.",
)

element_rows = Table(
    "element_rows",
    metadata,
    _column("kind", WORD, "touchpoint, copy (of one: it did not count), identification, correction; key"),
    _column("occurred_on", Date, "day on which it happened or was made, UTC; second part of the key"),
    _column("id", String, "id of the element; third part of the key, of which a hash of element is the last"),
    _column("identifiers", Array(String), "names of the person on it, each kind:value", "ZSTD(1)"),
    _column("element", String, "the whole element as JSON", _LONG),
    ReplacingMergeTree(
        partition_by="toYYYYMM(occurred_on)", order_by=("kind", "occurred_on", "id", "cityHash64(element)")
    ),
    comment="The archive: every content that was ever sent, from which the past of a household is put back.",
)

identification_rows = Table(
    "identification_rows",
    metadata,
    _column("id", String, "id of the element; the key"),
    _column("at", INSTANT, "when the identifiers were seen together, or the decision was made, UTC"),
    _column("kind", WORD, "identification, or correction (same, not_same, undone) by a person"),
    _column("identifiers", Array(String), "the identifiers, each kind:value"),
    _column("element", String, "the whole element as JSON", _LONG),
    ReplacingMergeTree(order_by="id", settings=SMALL_STEPS),
    comment="Links and corrections as they were sent, from which households are rebuilt.",
)

rejected_touchpoint_rows = Table(
    "rejected_touchpoint_rows",
    metadata,
    _column("id", String, "id of the rejection; the key"),
    _column("received_at", INSTANT, "when we received it, UTC"),
    _column("reason", WORD, "one word of the closed list of reasons"),
    _column("detail", String, "what was wrong, where, and what to do"),
    _column("source", WORD, "kind of sender"),
    _column("source_instance", WORD, "configured name of the write key, endpoint or file"),
    _column("channel", WORD, "channel, where known; empty: unknown"),
    _column("raw_ref", String, "where the untouched payload lies in the spool; empty: nowhere"),
    _column("content", String, "the payload or its beginning; empty: too large, see raw_ref", _LONG),
    _column("sha256", String, "hash of the payload; empty: not known"),
    _column("version", UInt64, "of a conflicting duplicate, that of its household; else 1"),
    _deleted("a later update of the source settled the conflict"),
    ReplacingMergeTree(version="version", is_deleted="deleted", order_by="id"),
    comment="What was not taken, with its reason. Read it through the view rejected_touchpoints.",
)

alert_rows = Table(
    "alert_rows",
    metadata,
    _column("id", String, "id of the alert; the key"),
    _column("kind", WORD, "kind of the attempts"),
    _column("channel", WORD, "channel on which they were opened"),
    _column("opened_at", INSTANT, "end of the first alarming minute, UTC"),
    _column("resolved_at", Nullable(INSTANT), "when it was calm again, UTC; NULL: still open"),
    _column("observed_rate", Float32, "abandoned of ended attempts in the window, 0 to 1"),
    _column("expected_rate", Float32, "what this hour expects, 0 to 1"),
    _column("attempts", UInt32, "attempts that ended in the window"),
    _column("abandoned", UInt32, "abandoned ones among them"),
    _column("probability", Float64, "chance of so many or more if all were as usual, 0 to 1"),
    _column("window_ms", UInt32, "length of the window, ms"),
    _column("message", String, "for whoever is on call"),
    _column("version", UInt64, "1: opened, 2: resolved"),
    ReplacingMergeTree(version="version", order_by="id"),
    comment="Alerts as they were opened and resolved. Read it through the view alerts.",
)

attempts_1m_rows = Table(
    "attempts_1m_rows",
    metadata,
    _column("minute", MINUTE, "minute in which the attempts ended, UTC; part of the key"),
    _column("kind", WORD, "kind of attempt; part of the key"),
    _column("channel", WORD, "channel of the touchpoint that opened them; part of the key"),
    _column("completed", UInt64, "attempts completed in the minute"),
    _column("abandoned", UInt64, "attempts abandoned in the minute"),
    _column("recovered", UInt64, "abandoned ones among them that were completed after all"),
    _column("version", UInt64, "instant of the recomputation, ns: the later one wins"),
    _model(),
    ReplacingMergeTree(
        version="version", order_by=("minute", "kind", "channel"), partition_by="toYYYYMM(minute)"
    ),
    comment="Ended attempts by minute, absolute. Read it through the view attempts_1m.",
)

drop_offs_1m_rows = Table(
    "drop_offs_1m_rows",
    metadata,
    _column("minute", MINUTE, "minute in which patience ran out, UTC; part of the key"),
    _column("phase", WORD, "phase in which; part of the key"),
    _column("channel", WORD, "channel of the last touchpoint; part of the key"),
    _column("type", WORD, "type of the last touchpoint; part of the key"),
    _column("drop_offs", UInt64, "drop-offs, recovered ones included"),
    _column("recovered", UInt64, "of which the customer came back"),
    _column("version", UInt64, "instant of the recomputation, ns: the later one wins"),
    _model(),
    ReplacingMergeTree(
        version="version", order_by=("minute", "phase", "channel", "type"), partition_by="toYYYYMM(minute)"
    ),
    comment="Drop-offs by minute, absolute. Read it through the view drop_offs_1m.",
)

pain_points_1m_rows = Table(
    "pain_points_1m_rows",
    metadata,
    _column("minute", MINUTE, "minute of the touchpoint, UTC; part of the key"),
    _column("kind", WORD, "kind of pain point; part of the key"),
    _column("phase", WORD, "phase of the touchpoint; part of the key"),
    _column("channel", WORD, "channel of the touchpoint; part of the key"),
    _column("pain_points", UInt64, "pain points"),
    _column("severity_milli", UInt64, "sum of their severities, in thousandths"),
    _column("version", UInt64, "instant of the recomputation, ns: the later one wins"),
    _model(),
    ReplacingMergeTree(
        version="version", order_by=("minute", "kind", "phase", "channel"), partition_by="toYYYYMM(minute)"
    ),
    comment="Pain points by minute, absolute. Read it through the view pain_points_1m.",
)

stage_conversion_1d_rows = Table(
    "stage_conversion_1d_rows",
    metadata,
    _column("day", Date, "day on which the journeys began, UTC; part of the key"),
    _column("campaign", WORD, "campaign of first touch; empty: none; part of the key"),
    _column("phase", WORD, "phase; part of the key"),
    _column("entered", UInt64, "journeys that were in the phase"),
    _column("forward", UInt64, "of which went on to a further phase"),
    _column("back", UInt64, "of which went back to an earlier one"),
    _column("lost", UInt64, "of which ended, by silence or closed, without having gone on"),
    _column("open", UInt64, "of which have neither gone on nor ended"),
    _column("converted", UInt64, "of which converted in the journey"),
    _column("version", UInt64, "instant of the recomputation, ns: the later one wins"),
    _model(),
    ReplacingMergeTree(
        version="version", order_by=("day", "campaign", "phase"), partition_by="toYYYYMM(day)"
    ),
    comment="Journeys by day of beginning, campaign and phase. Read it through the view stage_conversion_1d.",
)

bucket_places = Table(
    "bucket_places",
    metadata,
    _column("aggregate", WORD, "name of the aggregate; part of the key"),
    _column("bucket", MINUTE, "start of the bucket, UTC; part of the key"),
    _column("day", Date, "day of a row that stands or stood in it, UTC; part of the key"),
    _column("id", String, "id of that row; part of the key"),
    _model(),
    ReplacingMergeTree(order_by=("aggregate", "bucket", "day", "id"), partition_by="toYYYYMM(bucket)"),
    comment="Which rows can stand in which bucket: what recomputing a bucket has to read. Only grows.",
)

row_places = Table(
    "row_places",
    metadata,
    _column("day", Date, "day of the row, UTC; part of the key"),
    _column("row_hash", UInt64, "64 bits of the row's id; part of the key"),
    _column("aggregate", WORD, "name of the aggregate; part of the key"),
    _column("bucket", MINUTE, "start of a bucket that the row stands or stood in, UTC; part of the key"),
    _model(),
    ReplacingMergeTree(order_by=("day", "row_hash", "aggregate", "bucket"), partition_by="toYYYYMM(day)"),
    comment="Which buckets each row ever stood in: what has to be recomputed when it changes. Only grows.",
)

watermarks = Table(
    "watermarks",
    metadata,
    _column("partition", UInt16, "partition of the topics; the key"),
    _column("watermark", INSTANT, "up to here its touchpoints have arrived, event time, UTC"),
    ReplacingMergeTree(version="watermark", order_by="partition"),
    comment="Event time up to which the rows are true, by partition.",
)

journey_models = Table(
    "journey_models",
    metadata,
    _column("number", UInt16, "number of the journey model, from 1; the key"),
    _column(
        "fingerprint",
        String,
        "hash of what it says: what facts name the model by that they were judged under",
    ),
    _column(
        "state", WORD, "current: what is read; building: rebuild is at work on it; retired: it was current"
    ),
    _column("text", String, "its YAML", _LONG),
    _column("registered_at", INSTANT, "when it was given, UTC"),
    _column("changed_at", INSTANT, "when its state last changed, UTC"),
    _column("version", UInt64, "counts the changes of its state: the last one wins"),
    ReplacingMergeTree(version="version", order_by="number"),
    comment="Journey models that rows were judged under, and which of them is current.",
)

cohort_rows = Table(
    "cohort_rows",
    metadata,
    _column("name", String, "name of the cohort; the key"),
    _column("definition", String, "who belongs to it, as JSON; see docs/analysis.md", _LONG),
    _column("author", String, "who saved or deleted it"),
    _column("saved_at", INSTANT, "when it was saved or deleted, UTC"),
    _column("version", UInt64, "instant of that, ns, and more than any before: the later one wins"),
    _deleted("the cohort was deleted"),
    ReplacingMergeTree(version="version", is_deleted="deleted", order_by="name"),
    comment="Saved definitions of cohorts. Read it through the view cohorts.",
)

migrations = Table(
    "migrations",
    metadata,
    _column("number", UInt32, "number of the migration; the key"),
    _column("name", String, "what it does"),
    _column("applied_at", INSTANT, "when it was applied, UTC"),
    ReplacingMergeTree(version="applied_at", order_by="number"),
    comment="Migrations that were applied.",
)

JUDGED = (
    touchpoint_rows,
    journey_rows,
    identity_rows,
    identity_conflict_rows,
    attempts_1m_rows,
    drop_offs_1m_rows,
    pain_points_1m_rows,
    stage_conversion_1d_rows,
    bucket_places,
    row_places,
)
"""The tables whose rows follow from a journey model; there is one set of them per model that is in use."""

LATER_COLUMNS = (
    # table, column
    ("journey_rows", "shape"),
    ("journey_rows", "paved_path_distance"),
    ("journey_rows", "paved_path_steps"),
    *((table.name, "model") for table in JUDGED),
)
"""Columns that tables made by an earlier version lack, in the order in which they came."""

FIRST_MODEL = 1
BUILDING = "__building"
RETIRED = "__retired"
"""What the names of the tables of other models than the current one end with."""

SKIP_INDEXES = (
    # table, name, expression, type, granules in a step
    ("touchpoint_rows", "by_customer", "customer_id", "bloom_filter(0.01)", 4),
    ("touchpoint_rows", "by_identifier", "identifiers", "bloom_filter(0.01)", 4),
    ("element_rows", "by_identifier", "identifiers", "bloom_filter(0.01)", 4),
    ("touchpoint_rows", "by_journey", "journey_id", "bloom_filter(0.01)", 4),
    ("touchpoint_rows", "by_time", "occurred_at", "minmax", 4),
    ("journey_rows", "by_customer", "customer_id", "bloom_filter(0.01)", 4),
    ("identity_rows", "by_customer", "customer_id", "bloom_filter(0.01)", 4),
    ("identification_rows", "by_identifier", "identifiers", "bloom_filter(0.01)", 1),
)
"""Data skipping indexes: what finds one customer among millions."""

PROJECTIONS = (
    # table, name, columns, of which the first is the order
    (
        "touchpoint_rows",
        "stories",
        (
            "customer_id", "occurred_on", "id", "version", "deleted", "occurred_at", "ordinal", "channel",
            "type", "identifiers", "outcome", "queue", "amount", "currency", "phase", "phase_move", "journey_id",
            "transaction_id", "weight", "pain_kinds", "pain_severities", "delight_kinds", "attempt_kinds",
            "attempt_outcomes", "attempt_ended_ats", "attempt_recovered_ats", "drop_off_at",
            "drop_off_recovered_at", "drop_off_pain_kind",
        ),
    ),
    ("identity_rows", "households", ("household_id", "identifier")),
)  # fmt: skip
"""Columns kept once more in another order: what lies together of one customer, whose rows lie apart by day.

They hold every version of a row, also of whom it belonged to before; whoever reads them looks which one counts.
"""

PROJECTION_SETTINGS = "index_granularity = 1024, min_bytes_for_wide_part = 1000000000000"
"""Some rows of each part are read, but of all columns: in steps of fewer rows, and from one file instead of forty."""

PROJECTION_SETTINGS_SINCE = "26.9"
"""The first version of the engine that is known to take them."""

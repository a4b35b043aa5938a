"""The worker's metrics, each with its unit and a sentence. No identifiers of people."""

from prometheus_client import Counter, Gauge, Histogram

STITCHED = Counter(
    "desireline_touchpoints_stitched", "Elements taken from channel topics, by channel", ["topic"]
)
REJECTED = Counter(
    "desireline_touchpoints_rejected", "Elements that could not be read, by reason", ["reason"]
)
MESSAGES = Counter("desireline_inbox_messages", "Forwards, links and merges taken from the inbox")
SAID = Counter("desireline_verdicts_sent", "Verdicts of touchpoints sent to the facts topic")
CHANGELOG_BYTES = Counter("desireline_changelog_bytes", "Bytes written to the changelog of households")
RECOVERED_ENTRIES = Counter("desireline_recovered_entries", "Changelog entries read by recoveries")
RECOVERY_LEFT = Gauge(
    "desireline_recovery_entries_left", "Changelog entries that the present recovery has to read"
)
HOUSEHOLDS = Gauge("desireline_households", "Households held, by partition", ["partition"])
OVERSIZED = Gauge(
    "desireline_households_oversized",
    "Households lately touched that have more identifiers than max_household, by partition",
    ["partition"],
)
WATERMARK = Gauge(
    "desireline_watermark_seconds", "Watermark, seconds since 1970, by partition", ["partition"]
)
TRIMMED = Counter("desireline_households_trimmed", "Times that closed journeys of a household left the state")
REHYDRATED = Counter(
    "desireline_households_rehydrated", "Households whose past was read back from the archive"
)
LAG = Gauge("desireline_lag_records", "Records not taken yet, by topic", ["topic"])
LOAD_WAITING_SECONDS = Gauge(
    "desireline_load_waiting_seconds", "Seconds that what is written to the warehouse next has waited"
)
CHECKPOINT_SECONDS = Histogram(
    "desireline_checkpoint_seconds", "Seconds from taking records to their release"
)

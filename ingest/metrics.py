"""What the collector counts. No identifier of a person is in any of it."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("desireline_collector_requests", "requests answered", ["route", "status"])
ACCEPTED = Counter(
    "desireline_collector_accepted",
    "touchpoints and identifications taken into the spool",
    ["source", "channel"],
)
REJECTED = Counter(
    "desireline_collector_rejected", "things sent that were not taken, by reason", ["source", "reason"]
)
REFUSED = Counter(
    "desireline_collector_refused", "bodies answered with an error and not kept, by code", ["code"]
)
REQUEST_S = Histogram(
    "desireline_collector_request_seconds",
    "from the last byte of a request to its answer, s",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
UNPUBLISHED_BYTES = Gauge(
    "desireline_collector_unpublished_bytes", "in the spool and not yet taken by the broker, bytes"
)
BROKER_AWAY = Gauge("desireline_collector_broker_away", "1 while the broker takes nothing")
SPOOL_BYTES = Gauge("desireline_collector_spool_bytes", "size of the spool, bytes")
PUBLISHED = Counter("desireline_collector_published", "touchpoints and identifications taken by the broker")
PUBLISHED_RECORDS = Counter("desireline_collector_published_records", "Kafka records taken by the broker")
PUBLISH_FAILURES = Counter(
    "desireline_collector_publish_failures", "times that the broker began to take nothing"
)
READ_AGAIN = Counter(
    "desireline_collector_entries_read_again", "entries of the spool that were mapped again from the disk"
)

"""The demo's first sender: the real `segment-analytics-python` client, in a process of its own.

Run as `python -m desireline.demo_client`. Standard input is one `Errand` in JSON; standard output becomes one
`ErrandDone`. It ends with 1 if the client says that something was not sent.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """Where the client sends, and what: Segment calls, each a track, page or identify."""

    host: str
    write_key: str
    calls: list[dict[str, Any]]


class ErrandDone(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls it sent, by type, and what it could not send."""

    sent: dict[str, int]
    failures: list[str]


def run(errand: Errand) -> ErrandDone:
    """Give each call to the client, as an application would, and wait until it has sent them."""
    from segment.analytics.client import Client

    failures: list[str] = []

    def failed(error: Exception, items: Iterable[object]) -> None:
        failures.append(f"{len(list(items))} calls: {error}")

    client = Client(errand.write_key, host=errand.host, gzip=True, on_error=failed, max_retries=4)
    sent: Counter[str] = Counter()
    for call in errand.calls:
        said = {
            "user_id": call.get("userId"),
            "anonymous_id": call.get("anonymousId"),
            "message_id": call["messageId"],
            "timestamp": datetime.fromisoformat(call["timestamp"]).astimezone(UTC),
            "context": dict(call.get("context", {})),
        }
        if call["type"] == "identify":
            client.identify(traits=call["traits"], **said)
        elif call["type"] == "page":
            client.page(
                name=call["name"], category=call.get("category"), properties=call["properties"], **said
            )
        else:
            client.track(event=call["event"], properties=call["properties"], **said)
        sent[call["type"]] += 1
    client.shutdown()
    return ErrandDone(sent=dict(sent), failures=failures)


if __name__ == "__main__":
    done = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Errand))
    sys.stdout.buffer.write(msgspec.json.encode(done))
    sys.exit(1 if done.failures else 0)

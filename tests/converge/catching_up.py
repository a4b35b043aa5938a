"""When all that was published has been handled, loaded and committed."""

import os
import time
from collections.abc import Callable

from kafka.errors import KafkaError

from models.errors import DesirelineError
from streams.topics import CHANNEL_TOPICS, FACTS, INBOX, REHYDRATE, REJECTED, topic_status
from tests.converge.happenings import Happenings

WITHIN_S = float(os.environ.get("CONVERGE_PATIENCE", "300"))
READ = (*CHANNEL_TOPICS, INBOX, REHYDRATE, FACTS, REJECTED)


class NotCaughtUp(DesirelineError):
    """The stream does not get to its end."""


def await_caught_up(bootstrap_servers: str, happenings: Happenings, tend: Callable[[], None]) -> None:
    """Until of every topic all is committed, and nothing was added meanwhile; `tend` is called all the while."""
    began = said_at = time.monotonic()
    before: list[tuple[int, ...]] | None = None
    while True:
        tend()
        lag, ends = _standing(bootstrap_servers)
        if not any(lag.values()) and ends == before:
            break
        before = ends
        now = time.monotonic()
        if now - began > WITHIN_S:
            raise NotCaughtUp(f"not caught up after {now - began:.0f} s: {lag}")
        if now - said_at > 15:
            said_at = now
            happenings.say(f"still to be handled: { {topic: left for topic, left in lag.items() if left} }")
        time.sleep(0.5)
    happenings.say(f"caught up after {time.monotonic() - began:.1f} s")


def _standing(bootstrap_servers: str) -> tuple[dict[str, int], list[tuple[int, ...]]]:
    """What is left by topic, and where the topics end."""
    try:
        status = {one.topic: one for one in topic_status(bootstrap_servers)}
    except (KafkaError, DesirelineError):
        return {"the broker's answer": 1}, []
    lag = {
        topic: sum(
            max(0, end - (at or 0))
            for end, at in zip(status[topic].ends, status[topic].committed, strict=True)
        )
        for topic in READ
    }
    return lag, [status[topic].ends for topic in READ]

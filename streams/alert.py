"""The alert agent: recent minutes of abandonment in, alerts opened and resolved out.

One record of `journeys.abandonment` is one kind on one channel; the decision is `models.alerts`. What it
remembers (the last minutes, the last alert) is a table, so that an alert stays open over a restart and is not
told again. The alert is sent before that is written: a crash between the two tells it twice under one id, and
never not at all. Where the broker keeps nothing, `streams.putting_back` puts open alerts back.
"""

import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from faust.types import AppT, StreamT

from models.alerts import Abandonment, Alert, AlertRules, Watch
from models.routing import partition_of
from streams import codecs
from streams.stitch import stop_before_acknowledging
from streams.topics import ABANDONMENT, ALERTS

log = logging.getLogger(__name__)

TICK_S = 20.0  # an open alert is looked at again so often, also where nothing ends any more

_watch = msgspec.msgpack.Decoder(Watch)


def judged(
    watch: Watch | None, abandonment: Abandonment, now: int, rules: AlertRules
) -> tuple[Watch, Alert | None]:
    """The watch after a record, and the alert to tell, if any. `now`: live clock, UTC ms."""
    watch = watch or Watch(abandonment.kind, abandonment.channel)
    for alert in abandonment.open_alerts:
        watch.seed(alert)
    return watch, watch.receive(abandonment.buckets, now, rules)


def add_alert_agent(
    app: AppT,
    partitions: int,
    failed: Callable[[BaseException], Awaitable[None]] | None = None,
    *,
    rules: AlertRules | None = None,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    tick_s: float = TICK_S,
) -> None:
    """Register the alert agent, its table, and the timer that lets quiet alerts resolve.

    `failed` stops the worker where going on would lose a record (default: `app.crash`).
    """
    rules = rules or AlertRules()
    stop = failed or app.crash
    abandonment_topic = app.topic(
        ABANDONMENT, key_serializer="raw", value_serializer="raw", value_type=bytes, partitions=partitions
    )
    alert_topic = app.topic(
        ALERTS, key_serializer="raw", value_serializer="raw", value_type=bytes, partitions=partitions
    )
    watches = app.Table(
        "watches",
        key_type=bytes,
        value_type=bytes,
        partitions=partitions,
        help="what the alert agent remembers of a kind on a channel",
    )

    @app.agent(abandonment_topic, name="alert")
    async def alert(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            async with stop_before_acknowledging(stop):
                key = event.message.key
                before = watches.get(key)
                abandonment = codecs.decode_abandonment(event.message.value)
                watch, told = judged(_watch.decode(before) if before else None, abandonment, now(), rules)
                if told is not None:
                    log.log(logging.WARNING if told.resolved_at is None else logging.INFO, "%s", told.message)
                    await (await alert_topic.send(key=key, value=msgspec.json.encode(told)))
                after = msgspec.msgpack.encode(watch)
                if after != before:
                    watches[key] = after

    @app.timer(tick_s, on_leader=False)
    async def tick() -> None:
        for key, value in list(watches.items()):
            watch = _watch.decode(value)
            if watch.open:
                _, passed = codecs.encode_abandonment(Abandonment(watch.kind, watch.channel))
                await abandonment_topic.send(
                    key=key, value=passed, partition=partition_of(key.decode(), partitions)
                )

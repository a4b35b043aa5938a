"""The load agent: facts, rejections and alerts into the warehouse, and none acknowledged before it is there.

Records are grouped: one insert per table takes what several records hold. A group is written, then the
buckets it touched are recomputed, then its records are acknowledged. While history is loaded, buckets cost
more than rows: then several groups share one recomputation, so that no more than a share of the time goes
there; their records wait for it, unacknowledged. Inserts have a share of the time, too: the more there is to
write, the larger are the groups, since much of what an insert costs does not depend on how many rows it has.
While the warehouse is away everything waits and is tried again, and when enough waits, no more is taken from
the topics.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import msgspec
from clickhouse_connect.driver.client import Client
from faust import Stream
from faust.types import AppT, EventT, StreamT

from models.alerts import Abandonment
from models.errors import DesirelineError
from streams import codecs, metrics
from streams.config import WorkerConfig
from streams.loading_process import LoadingProcess
from streams.pace import rest_s
from streams.stitch import stop_before_acknowledging
from streams.topics import ABANDONMENT, ALERTS, FACTS, REJECTED
from warehouse.connection import client
from warehouse.journey_models import current_fingerprint
from warehouse.loading import Group, Loading, RecordKind
from warehouse.write_errors import WarehouseAway, WarehouseError, warehouse_errors

log = logging.getLogger(__name__)

_LOOK_AT_MODEL_EVERY_S = 2.0

Result = TypeVar("Result")


class LoadSettings(msgspec.Struct, frozen=True):
    """How records are grouped; bytes are those of the records as they came.

    `linger_s`: how long a group waits for more; up to `linger_at_most_s` where writing would take more than
    `write_share` of the time. `waiting_bytes`: beyond it no more is taken from the topics. `settle_share`: the
    share of time that recomputing buckets may take, unless records would wait for it longer than `hold_s` or be
    more than `hold_bytes`.
    """

    group_bytes: int = 12_000_000
    linger_s: float = 0.7
    linger_at_most_s: float = 1.5
    write_share: float = 0.25
    waiting_bytes: int = 48_000_000
    settle_share: float = 0.1
    hold_s: float = 20.0
    hold_bytes: int = 300_000_000
    backoff_s: float = 0.25
    backoff_at_most_s: float = 10.0
    say_every_s: float = 30.0


class Record(msgspec.Struct):
    """A record on its way into the warehouse. `done` acknowledges it, once all of it is there."""

    kind: RecordKind
    value: bytes
    done: Callable[[], None]
    taken_at: float = msgspec.field(default_factory=time.monotonic)


class Loader:
    """Takes records, writes groups of them in a thread of its own, and calls each record's `done`.

    `send_abandonment` gets the recent minutes that changed, before the records that changed them are done.
    `now`: wall clock, UTC ms. An error that is not the warehouse's being away ends `run`, and nothing is
    done.
    """

    def __init__(
        self,
        loading: Loading | LoadingProcess,
        send_abandonment: Callable[[list[Abandonment]], Awaitable[None]],
        *,
        settings: LoadSettings | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._loading = loading
        self._send_abandonment = send_abandonment
        self._settings = settings or LoadSettings()
        self._now = now
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._held: list[Record] = []
        self._held_bytes = 0
        self._held_since = 0.0
        self._settle_after = 0.0
        self._write_after = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def waiting_s(self) -> float:
        """For how long the record that is written next has waited; 0 if none waits."""
        return time.monotonic() - self._waiting[0].taken_at if self._waiting else 0.0

    async def put(self, record: Record) -> None:
        """Take a record; waits while enough waits already."""
        while self._waiting_bytes >= self._settings.waiting_bytes:
            self._taken.clear()
            await self._taken.wait()
        self._waiting.append(record)
        self._waiting_bytes += len(record.value)
        self._arrived.set()

    def forget(self) -> None:
        """Partitions are handed over: what only waits is read again by whoever has them next."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._taken.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        metrics.LOAD_WAITING_SECONDS.set_function(lambda: self.waiting_s)
        try:
            while True:
                await self._wait_for_records()
                if records := self._next_group():
                    await self._write(records)
                if self._held and self._settlement_is_due():
                    await self._settle()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _wait_for_records(self) -> None:
        """Until a group is full, or has lingered, or what is held must be settled."""
        if not self._waiting:
            self._arrived.clear()
            patience = max(0.0, self._settle_after - time.monotonic()) if self._held else None
            try:
                await asyncio.wait_for(self._arrived.wait(), patience)
            except TimeoutError:
                return
        now = time.monotonic()
        write_at = max(
            now + self._settings.linger_s, min(self._write_after, now + self._settings.linger_at_most_s)
        )
        while self._waiting_bytes < self._settings.group_bytes and (left := write_at - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _next_group(self) -> list[Record]:
        records: list[Record] = []
        size = 0
        while self._waiting and size < self._settings.group_bytes:
            record = self._waiting.popleft()
            size += len(record.value)
            records.append(record)
        self._waiting_bytes -= size
        self._taken.set()
        return records

    async def _write(self, records: list[Record]) -> None:
        group = Group([(record.kind, record.value) for record in records])
        began = time.monotonic()
        unloadable = await self._until_it_succeeds(lambda: self._loading.write(group, self._now()))
        for row in unloadable:
            log.error("this cannot be loaded, see the rejected: %s: %s", row.what, row.reason)
        ended = time.monotonic()
        self._write_after = ended + rest_s(ended - began, self._settings.write_share)
        if not self._held:
            self._held_since = time.monotonic()
        self._held += records
        size = sum(len(record.value) for record in records)
        for record in records:
            record.value = b""  # what waits for its buckets only is its acknowledgement
        self._held_bytes += size

    def _settlement_is_due(self) -> bool:
        now = time.monotonic()
        return (
            now >= self._settle_after
            or now - self._held_since >= self._settings.hold_s
            or self._held_bytes >= self._settings.hold_bytes
        )

    async def _settle(self) -> None:
        """Recompute the touched buckets, tell the recent ones, and acknowledge what was held for them."""
        began = time.monotonic()
        abandonment = await self._until_it_succeeds(lambda: self._loading.settle(self._now()))
        if abandonment:
            await self._send_abandonment(abandonment)
        for record in self._held:
            record.done()
        self._held = []
        self._held_bytes = 0
        ended = time.monotonic()
        self._settle_after = ended + rest_s(ended - began, self._settings.settle_share)

    async def _until_it_succeeds(self, step: Callable[[], Result]) -> Result:
        """Do a step in the thread; while the warehouse is away do it again, and say so."""
        loop = asyncio.get_running_loop()
        backoff, away_since, said_at = self._settings.backoff_s, 0.0, 0.0
        while True:
            try:
                result = await loop.run_in_executor(self._thread, step)
            except WarehouseAway as away:
                now = time.monotonic()
                away_since = away_since or now
                if not said_at or now - said_at >= self._settings.say_every_s:
                    log.warning(
                        "the warehouse takes no rows since %.0f s; %d records wait unacknowledged: %s",
                        now - away_since,
                        len(self._waiting) + len(self._held) + 1,
                        away,
                    )
                    said_at = now
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, self._settings.backoff_at_most_s)
            else:
                if away_since:
                    log.info("the warehouse takes rows again, after %.0f s", time.monotonic() - away_since)
                return result


_KINDS: dict[str, RecordKind] = {FACTS: "facts", REJECTED: "rejection", ALERTS: "alert"}


def add_load_agent(
    app: AppT,
    config: WorkerConfig,
    failed: Callable[[BaseException], Awaitable[None]] | None = None,
    *,
    settings: LoadSettings | None = None,
) -> None:
    """Register the load agent. `failed` stops the worker where going on would lose a record (default:
    `app.crash`).

    The warehouse being away is no such case: it is waited for.
    """
    stop = failed or app.crash
    if config.warehouse_url is None:
        raise ValueError("a load agent needs the URL of a warehouse")
    abandonment_topic = app.topic(ABANDONMENT, key_serializer="raw", value_serializer="raw", value_type=bytes)

    async def send(abandonment: list[Abandonment]) -> None:
        for one in abandonment:
            key, value = codecs.encode_abandonment(one)
            await (await abandonment_topic.send(key=key, value=value))

    loading = LoadingProcess(config.warehouse_url, config.model.phases)
    loader = Loader(loading, send, settings=settings)
    topics = app.topic(*_KINDS, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(topics, name="load")
    async def load(stream: StreamT[bytes]) -> None:
        # a record is acknowledged by its `done`, when all of it is there
        async for event in cast(Stream[bytes], stream).noack().events():
            async with stop_before_acknowledging(stop):
                await loader.put(_record(event))

    async def run() -> None:
        try:
            async with stop_before_acknowledging(stop):
                await loader.run()
        finally:
            loading.close()

    async def forget(*_arguments: Any, **_more: Any) -> None:
        loader.forget()

    warehouse_url = config.warehouse_url

    async def look() -> None:
        await _end_when_another_model_is_current(config, warehouse_url, stop)

    app.task(run)
    if config.fingerprint:
        app.task(look)
    app.on_partitions_revoked.connect(forget)


class AnotherModelIsCurrent(DesirelineError):
    """The journey model was changed: the worker must start again, under the new one."""


async def _end_when_another_model_is_current(
    config: WorkerConfig, warehouse_url: str, failed: Callable[[BaseException], Awaitable[None]]
) -> None:
    """Ask the warehouse now and then; while it is away, what was current is.

    What is said meanwhile goes to the tables of the model that it is said under, so nothing hurries.
    """
    loop = asyncio.get_running_loop()
    asked = _CurrentModel(warehouse_url)
    while True:
        await asyncio.sleep(_LOOK_AT_MODEL_EVERY_S)
        try:
            current = await loop.run_in_executor(None, asked.fingerprint)
        except WarehouseError:
            continue
        if current not in ("", config.fingerprint):
            await failed(
                AnotherModelIsCurrent(
                    "another journey model is current now", remedy="The worker is started again under it."
                )
            )
            return


class _CurrentModel:
    """Asks through one client: each new one begins by asking for all settings of the server."""

    def __init__(self, warehouse_url: str) -> None:
        self._url = warehouse_url
        self._client: Client | None = None

    def fingerprint(self) -> str:
        """Of the journey model that is current. WarehouseAway."""
        with warehouse_errors("journey_models"):
            self._client = self._client or client(self._url)
            return current_fingerprint(self._client)


def _record(event: EventT[Any]) -> Record:
    message = event.message
    value = message.value or b""
    message.value = b""  # it may wait long for its acknowledgement, and is kept once

    def done() -> None:
        event.ack()

    return Record(_KINDS[message.topic], value, done)

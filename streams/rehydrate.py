"""The rehydrate agent: who asks for a household's past gets it back from the archive, through the inbox.

What is asked for was said before it left the state, but it may still wait to be loaded: where something is
missing, a request is answered only once all that was said before it was read has been loaded.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import faust
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from faust.types import EventT
from kafka.errors import KafkaError
from urllib3.exceptions import HTTPError

from models.trimming import element_mark, pack, unpack
from streams import codecs, metrics
from streams.codecs import PastWanted
from streams.config import WorkerConfig
from streams.putting_back import encode_answer
from streams.stitch import stop_before_acknowledging
from streams.topics import FACTS, INBOX, REHYDRATE, TopicsError, TopicStatus, topic_status
from warehouse.archive import Past, known_identifiers, pasts_of
from warehouse.connection import client

log = logging.getLogger(__name__)

_TOGETHER = 500  # requests that are answered with one question
_LOOK_EVERY_S = 0.2
_AGAIN_AFTER_S = 1.0
_NOBODY = Past("", [], 0, 0)

Result = TypeVar("Result")


class Request(NamedTuple):
    """A request that waits. `done` acknowledges it, once it was answered."""

    wanted: PastWanted
    done: Callable[[], object]


class Answer(NamedTuple):
    """What was found, and marks of what was asked for and is not there."""

    found: Past
    missing: set[int]


def answer(wanted: PastWanted, found: Past | None) -> Answer:
    """Of what the archive has of a household that which was asked for."""
    found = found or _NOBODY
    asked = unpack(wanted.archived)
    if not asked:
        return Answer(found, set())
    given = {mark: element for element in found.elements if (mark := element_mark(element)) in asked}
    return Answer(Past(found.household_id, list(given.values()), 0, 0), asked - given.keys())


def ask(connected: Client, wanted: Sequence[PastWanted]) -> list[Answer]:
    """Answer several requests together."""
    strangers = {key for one in wanted if not one.archived for key in one.identifiers}
    known = known_identifiers(connected, strangers) if strangers else set()
    asked = [one for one in wanted if one.archived or known & set(one.identifiers)]
    pasts = pasts_of(connected, [one.identifiers for one in asked]) if asked else []
    found = {id(one): past for one, past in zip(asked, pasts, strict=True)}
    return [answer(one, found.get(id(one))) for one in wanted]


class Rehydrator:
    """Answers requests, those that wait together. `publish` sends a record to a partition of the inbox."""

    def __init__(
        self, config: WorkerConfig, publish: Callable[[int, bytes], Awaitable[Awaitable[Any]]]
    ) -> None:
        self._config = config
        self._url = config.warehouse_url or ""
        self._publish = publish
        self._waiting: list[Request] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rehydrate")
        self._client: Client | None = None

    def put(self, request: Request) -> None:
        """Take a request."""
        self._waiting.append(request)
        self._arrived.set()

    def forget(self) -> None:
        """Partitions are handed over: what waits is read again by whoever has them next."""
        self._waiting = []

    async def run(self) -> None:
        """Answer, until cancelled; while the warehouse is away or behind, wait."""
        while True:
            await self._arrived.wait()
            some, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            if not self._waiting:
                self._arrived.clear()
            if some:
                await self._answer(some)

    async def _answer(self, requests: list[Request]) -> None:
        answers = await self._ask(requests)
        if any(answer.missing for answer in answers):
            await self._in_thread(self._await_loading)
            answers = await self._ask(requests)
        sent: list[Awaitable[Any]] = []
        order, partitions = self._config.model.identifier_order, self._config.partitions
        for (wanted, _), (found, missing) in zip(requests, answers, strict=True):
            if missing:
                log.warning(
                    "%d of %d touchpoints that a household needs back are not in the archive; it goes on "
                    "without them",
                    len(missing),
                    len(unpack(wanted.archived)),
                )
            metrics.REHYDRATED.inc(bool(found.elements))
            for record in encode_answer(wanted, found, pack(missing), order, partitions):
                sent.append(await self._publish(record.partition, record.value))
        await asyncio.gather(*sent)
        for request in requests:
            request.done()

    async def _ask(self, requests: list[Request]) -> list[Answer]:
        wanted = [request.wanted for request in requests]
        return await self._in_thread(lambda: ask(self._connected(), wanted))

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        """The result of a call that may have to wait for the warehouse or the broker to come back."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, call)
            except (ClickHouseError, HTTPError, OSError, KafkaError, TopicsError) as error:
                log.warning("the archive does not answer (%s); it is asked again", type(error).__name__)
                await asyncio.sleep(_AGAIN_AFTER_S)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = client(self._url)
        return self._client

    def _await_loading(self) -> None:
        """Wait until what is in the topic of facts now has been loaded."""
        ends = self._facts().ends
        while any((at or 0) < end for at, end in zip(self._facts().committed, ends, strict=True)):
            time.sleep(_LOOK_EVERY_S)

    def _facts(self) -> TopicStatus:
        return next(one for one in topic_status(self._config.bootstrap_servers) if one.topic == FACTS)


def add_rehydrate_agent(
    app: faust.App, config: WorkerConfig, failed: Callable[[BaseException], Awaitable[None]]
) -> None:
    """The agent over the requests for households' pasts."""

    async def publish(partition: int, value: bytes) -> Awaitable[Any]:
        sent: Awaitable[Any] = await app.producer.send(INBOX, None, value, partition, None, None)
        return sent

    rehydrator = Rehydrator(config, publish)
    topic = app.topic(
        REHYDRATE, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes
    )

    @app.agent(topic, name="rehydrate")
    async def rehydrate(stream: faust.StreamT[bytes]) -> None:
        async for event in cast(faust.Stream[bytes], stream).noack().events():
            rehydrator.put(_request(event))

    async def run() -> None:
        async with stop_before_acknowledging(failed):
            await rehydrator.run()

    async def forget(*_arguments: Any, **_more: Any) -> None:
        rehydrator.forget()

    app.task(run)
    app.on_partitions_revoked.connect(forget)


def _request(event: EventT[Any]) -> Request:
    return Request(codecs.decode_past_wanted(event.message.value or b""), event.ack)

"""The stitch agent: touchpoints of all channels and the messages of the inbox in, verdicts out.

Records are taken one after the other; what they cause waits a few hundredths of a second for company, longer
where there is much to do, and is sent together. A checkpoint, at most a second later, sends what may be
collected longer (journey rows, households in full), keeps the watermark, and only then releases the offsets of
the records that it answers for.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.exceptions import NotReady, ProducerSendError
from faust.types import TP, AppT, EventT

from models.errors import DesirelineError
from models.verdict import Facts
from streams import channel_records, codecs, metrics
from streams.changelog import Households
from streams.codecs import Entry, Message, PastWanted
from streams.config import WorkerConfig
from streams.offset_gaps import OffsetGaps, check_gap
from streams.pace import pause_s
from streams.protocol import Nodes, Position, Trims
from streams.topics import FACTS, INBOX, REHYDRATE, REJECTED

log = logging.getLogger(__name__)

_IDLE_WATERMARK_S = 5.0  # a watermark that only the clock moved is kept so often


@asynccontextmanager
async def stop_before_acknowledging(
    failed: Callable[[BaseException], Awaitable[None]],
) -> AsyncIterator[None]:
    """A fault that is not the data's ends the worker, and the record is read again by the next one."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, DesirelineError):  # those say all in one line
            log.exception("going on would lose a record")
        await failed(error)
        await asyncio.Event().wait()  # until it is stopped: the agent must neither end nor go on


class Stitcher:
    """Takes records, collects what they cause, sends it, and releases their offsets."""

    def __init__(
        self,
        app: AppT,
        config: WorkerConfig,
        households: Households,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._app = app
        self._config = config
        self._households = households
        self._channel_topics = [topic for topic in households.sources if topic != INBOX]
        self._now = now
        self._gaps = OffsetGaps()
        self._entries: dict[int, list[Entry]] = {}
        self._messages: dict[int, list[Message]] = {}
        self._rejected: list[tuple[int, bytes]] = []
        self._taken: list[EventT[Any]] = []
        self._taken_bytes = 0
        self._covered: list[EventT[Any]] = []  # their effects were sent; they wait for the checkpoint
        self._covered_bytes = 0
        self._room = asyncio.Event()
        self._hurry = asyncio.Event()
        self._checkpoint_at = 0.0
        self._judging_took_s = 0.0
        self._kept_watermarks: dict[int, tuple[Nodes, tuple[int, str], float]] = {}
        self.released: dict[TP, int] = {}  # what may be committed
        households.begun = self._gaps.begin

    # --- taking ---

    async def take(self, event: EventT[Any]) -> None:
        """Take a record; waits while too much is unanswered for."""
        while self._taken_bytes + self._covered_bytes > self._config.waiting_bytes:
            self._hurry.set()
            self._room.clear()
            await self._room.wait()
        message = event.message
        nodes = self._households.nodes.get(message.partition)
        if (
            nodes is None
            or self._households.recovering
            or message.generation_id != self._households.generation
        ):
            return  # it was handed over while this record waited
        expected = self._gaps.missing(message.topic, message.partition, message.offset)
        if expected is not None:
            servers = self._config.bootstrap_servers
            await check_gap(servers, message.topic, message.partition, expected, message.offset)
        at = Position(message.topic, message.offset)
        value = message.value or b""
        if message.topic == INBOX:
            effects = nodes.receive_messages(codecs.decode_messages(value), at)
            metrics.MESSAGES.inc()
        else:
            decoded = channel_records.decode(value)
            headers = _names(message.headers)
            effects = nodes.receive(
                decoded.records,
                at,
                moves_watermark=channel_records.FILE_HEADER not in headers,
                again=channel_records.AGAIN_HEADER in headers,
                now=self._now() if self._config.live else None,
            )
            metrics.STITCHED.labels(message.topic).inc(len(decoded.records))
            for unreadable in decoded.rejected:
                metrics.REJECTED.labels(unreadable.reason).inc()
                rejection = channel_records.encode_rejection(
                    unreadable, message.topic, message.partition, message.offset, self._now()
                )
                self._rejected.append((message.partition, rejection))
        if effects.entries:
            self._entries.setdefault(message.partition, []).extend(effects.entries)
        for partition, messages in effects.messages.items():
            self._messages.setdefault(partition, []).extend(messages)
        self._taken.append(event)
        self._taken_bytes += len(value)
        if nodes.households.crowded:
            self._hurry.set()

    def forget(self) -> None:
        """Partitions are handed over: records taken before are read again by whoever has them next."""
        self._taken, self._covered = [], []
        self._taken_bytes = self._covered_bytes = 0
        self._gaps.forget()
        self.released = {}
        self._room.set()

    # --- sending ---

    async def run(self) -> None:
        """Send what was caused, until cancelled or until the worker ends."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._pause_s())
            if not self._households.recovering:
                try:
                    await self.send()
                except (NotReady, ProducerSendError):
                    if self._app.should_stop:
                        return  # it was told to end; what was not sent is not released either, and is read again
                    raise

    def _pause_s(self) -> float:
        """How long what is caused waits for company: the busier the worker, the longer."""
        config = self._config
        return pause_s(
            self._judging_took_s,
            config.judge_share,
            at_least_s=config.send_interval_s,
            at_most_s=config.send_interval_at_most_s,
        )

    async def send(self) -> None:
        """Send what was caused so far; at a checkpoint also what is owed, and release the offsets."""
        hurry = self._hurry.is_set()
        self._hurry.clear()
        started = time.monotonic()
        checkpoint = hurry or started >= self._checkpoint_at
        if self._config.live:
            now = self._now()
            for nodes in self._households.nodes.values():
                if self._caught_up(nodes.partition):
                    nodes.watermark.wall(now)
        # from here to the first await nothing is taken: what is sent answers for exactly these records
        taken, self._taken = self._taken, []
        self._covered_bytes += self._taken_bytes
        self._taken_bytes = 0
        self._covered += taken
        covered = self._covered
        entries, self._entries = self._entries, {}
        messages, self._messages = self._messages, {}
        rejected, self._rejected = self._rejected, []
        all_nodes = list(self._households.nodes.values())
        watermarks: dict[int, int] = {}
        said: dict[int, Facts] = {}
        judged_under: dict[int, str] = {}
        if checkpoint:
            self._checkpoint_at = started + self._config.checkpoint_interval_s
            involved = {event.message.partition for event in covered}
            for nodes in all_nodes:
                if self._must_keep_watermark(nodes, nodes.partition in involved, started):
                    watermarks[nodes.partition] = nodes.watermark.value
                if nodes.owes or nodes.partition in watermarks:
                    said[nodes.partition] = nodes.say_all()
                judged_under[nodes.partition] = nodes.judged_under
            self._covered, covered_bytes, self._covered_bytes = [], self._covered_bytes, 0
        else:
            covered, covered_bytes = [], 0
            for nodes in all_nodes:
                if nodes.has_news:
                    said[nodes.partition] = nodes.judge()
        requests = {nodes.partition: nodes.requests() for nodes in all_nodes}
        trims = [(nodes.partition, nodes.trims()) for nodes in all_nodes] if checkpoint else []
        self._judging_took_s = time.monotonic() - started
        try:
            await self._send_and_wait(entries, messages, rejected, said, requests)
            if checkpoint:
                await self._release(covered, watermarks, judged_under, trims)
                if taken or covered:
                    metrics.CHECKPOINT_SECONDS.observe(time.monotonic() - started)
        finally:
            if covered_bytes:
                self._room.set()

    def _caught_up(self, partition: int) -> bool:
        """Whether all that is in the channels' topics was taken, as of the last fetch.

        With a backlog the wall clock knows nothing of event time: what ends an attempt may wait to be read.
        """
        for topic in self._channel_topics:
            tp = TP(topic, partition)
            try:
                end = self._app.consumer.highwater(tp)
            except IllegalStateError:  # it is being handed over
                return False
            if end is None or (self.next_of(tp) or 0) < end:
                return False
        return True

    def _must_keep_watermark(self, nodes: Nodes, involved: bool, now: float) -> bool:
        before = self._kept_watermarks.get(nodes.partition)
        value = nodes.watermark.value, nodes.judged_under
        if before is None or before[0] is not nodes:
            keep = involved or nodes.watermark.value > 0
        else:
            hurry = involved or nodes.judged_under != before[1][1]
            keep = value != before[1] and (hurry or now - before[2] > _IDLE_WATERMARK_S)
        if keep:
            self._kept_watermarks[nodes.partition] = nodes, value, now
        return keep

    async def _send_and_wait(
        self,
        entries: dict[int, list[Entry]],
        messages: dict[int, list[Message]],
        rejected: list[tuple[int, bytes]],
        said: dict[int, Facts],
        requests: dict[int, list[PastWanted]],
    ) -> None:
        waiting: list[Awaitable[Any]] = []
        for partition, some in entries.items():
            waiting += await self._households.write(partition, some)
        for partition, sent in messages.items():
            for value in codecs.encode_messages(sent):
                waiting.append(await self._publish(INBOX, partition, value))
        for partition, value in rejected:
            waiting.append(await self._publish(REJECTED, partition, value))
        for partition, wanted in requests.items():
            for one in wanted:
                waiting.append(await self._publish(REHYDRATE, partition, codecs.encode_past_wanted(one)))
        for partition, facts in said.items():
            metrics.SAID.inc(len(facts.touchpoints))
            facts.model = self._config.fingerprint
            for value in codecs.encode_facts(facts):
                waiting.append(await self._publish(FACTS, partition, value))
        if waiting:
            await asyncio.gather(*waiting)

    async def _release(
        self,
        covered: list[EventT[Any]],
        watermarks: dict[int, int],
        judged_under: dict[int, str],
        trims: list[tuple[int, Trims]],
    ) -> None:
        """All that these records owe was sent: keep the watermark it was sent at, then let offsets go.

        What leaves the state is described before its entries are deleted.
        """
        waiting: list[Awaitable[Any]] = []
        for partition, trim in trims:
            if trim.entries:
                waiting += await self._households.write(partition, trim.entries)
                metrics.TRIMMED.inc(len(trim.entries))
        for partition, watermark in watermarks.items():
            # households that are still to be said under this model are so at the next start, too
            under = judged_under[partition]
            entry = codecs.watermark_entry(self._households.generation, watermark, under)
            waiting += await self._households.write(partition, [entry])
        if waiting:
            await asyncio.gather(*waiting)
        for partition, trim in trims:
            if trim.deletions:
                await self._households.write(partition, trim.deletions)
        generation = self._households.generation
        for event in covered:
            event.ack()
            if event.message.generation_id == generation:
                self.released[event.message.tp] = event.message.offset + 1
        for nodes in self._households.nodes.values():
            nodes.settled()

    async def _publish(self, topic: str, partition: int, value: bytes) -> Awaitable[Any]:
        sent: Awaitable[Any] = await self._app.producer.send(topic, None, value, partition, None, None)
        return sent

    # --- how it stands ---

    def observe(self) -> None:
        """Bring the gauges up to date."""
        for nodes in self._households.nodes.values():
            metrics.HOUSEHOLDS.labels(nodes.partition).set(len(nodes.households))
            metrics.OVERSIZED.labels(nodes.partition).set(nodes.households.oversized)
            metrics.WATERMARK.labels(nodes.partition).set(nodes.watermark.value / 1000)

    def next_of(self, tp: TP) -> int | None:
        """The offset of the record that comes next."""
        return self._gaps.next_of(tp.topic, tp.partition)

    async def lag(self) -> dict[TP, int]:
        """Records not taken yet."""
        places = [
            TP(topic, partition) for topic in self._households.sources for partition in self._households.nodes
        ]
        lag = {
            tp: max(0, end - (self.next_of(tp) or 0))
            for tp, end in (await self._app.consumer.highwaters(*places)).items()
        }
        for topic in self._households.sources:
            metrics.LAG.labels(topic).set(sum(left for tp, left in lag.items() if tp.topic == topic))
        return lag


def add_stitch_agent(
    app: faust.App,
    config: WorkerConfig,
    households: Households,
    failed: Callable[[BaseException], Awaitable[None]],
) -> Stitcher:
    """The agent over the channel topics and the inbox."""
    stitcher = Stitcher(app, config, households)
    topic = app.topic(
        *households.sources, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes
    )

    @app.agent(topic, name="stitch")
    async def stitch(stream: faust.StreamT[bytes]) -> None:
        async for event in cast(faust.Stream[bytes], stream).noack().events():
            async with stop_before_acknowledging(failed):
                await stitcher.take(event)

    async def send() -> None:
        async with stop_before_acknowledging(failed):
            await stitcher.run()

    async def forget(*_arguments: Any, **_more: Any) -> None:
        stitcher.forget()

    app.task(send)
    app.on_partitions_revoked.connect(forget)

    return stitcher


def _names(headers: Any) -> set[str]:
    return {name for name, _ in headers} if headers else set()

"""Faust's consumer, mended in five places.

- While partitions are handed over, Faust's streams skip the records that they still hold, and acknowledge
  them; an acknowledgement out of turn can then commit an offset below which records were never handled. Here
  only what was delivered in the present generation, while records flow, can be acknowledged. The rest is read
  again.
- Faust asks brokers to wait up to 1.5 s for a record. The embedded broker does wait, partition by partition,
  even if a record comes meanwhile: half a second for each step of a touchpoint's way.
- What is fetched is asked for by a set that Faust empties when partitions are handed over. A fetch that was on its
  way asked for nothing then, which means everything: touchpoints were fetched, dropped, and never read again where
  no offset had been committed yet.
- Where a partition ends is told wrongly by the embedded broker (`streams.offsets`).
- A committed offset may be out of range: retention deleted records that were never handled, or the topic was made
  anew. aiokafka then jumps without a word, or waits for ever where the topic is empty. Here the loss is said, and
  reading goes on from the earliest record that is left.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from faust.app import App as FaustApp
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.transports import TransportT

from streams.offsets import FETCH_WAIT_MS, end_offsets, resumed

log = logging.getLogger(__name__)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """As Faust's, but it does not let brokers wait long."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(driver.Consumer):
    """As Faust's, but acknowledges nothing out of turn and knows where partitions begin and end."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Message) -> bool:
        """Mark a record as done, so that its offset may be committed."""
        out_of_turn = message.generation_id != self.app.consumer_generation_id
        if out_of_turn or not self.app.flow_control.is_active():
            self._unacked_messages.discard(message)
            return False
        return super().ack(message)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        asked = None if active_partitions is None else set(active_partitions)
        fetched: RecordMap = await super()._getmany(asked, timeout)
        return fetched

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what was committed; where nothing was, or what was is out of range, to the earliest record.

        Gives where each partition is read on. What was lost is said at ERROR.
        """
        if not self.assignment():  # there are more workers than partitions
            return {}
        committed: Mapping[TP, int | None] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        inputs = {tp: at for tp, at in committed.items() if tp.topic not in changelogs}
        begins = await self._thread.earliest_offsets(*map(driver.ensure_aiokafka_TP, inputs))
        ends = await self._ends_near(inputs)
        read_on = {tp: at or 0 for tp, at in committed.items()}
        for tp, at in inputs.items():
            begin = begins[driver.ensure_aiokafka_TP(tp)]
            place = resumed(at, begin, ends.get(tp))
            if place.offset != at or not at:
                await self._thread.seek_wait({driver.ensure_aiokafka_TP(tp): place.offset})
            read_on[tp] = place.offset
            if place.lost is not None:
                log.error(
                    "%s partition %d: the committed offset is out of range: %s; reading goes on from offset %d. "
                    "What the warehouse lacks is published again from the spool by `desireline up`; elsewhere "
                    "`desireline reconcile` names it",
                    tp.topic, tp.partition, place.lost, place.offset,
                )  # fmt: skip
                # so that it is said once, and what is gone does not count as waiting
                await self._thread.commit({tp: place.offset})
        return read_on

    async def _ends_near(self, committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
        """Where those partitions end whose commit may lie beyond the end."""
        told = await self._thread.highwaters(*map(driver.ensure_aiokafka_TP, committed))
        beyond = [tp for tp, at in committed.items() if at and at > told[driver.ensure_aiokafka_TP(tp)]]
        return await self.highwaters(*beyond)  # the embedded broker told too small a number

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset behind the last record of each partition."""
        servers = driver.server_list(self.transport.url, driver.Transport.default_port)
        told = await end_offsets(servers, driver.ensure_aiokafka_TPset(partitions))
        return {tp: told[driver.ensure_aiokafka_TP(tp)] for tp in partitions}


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class App(FaustApp):
    """A Faust app with our consumer. `watch` runs from the start: Faust's own tasks wait for the recovery."""

    watch: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def on_start(self) -> None:
        """Faust calls it before it joins the group."""
        await super().on_start()
        if self.watch is not None:
            self.add_future(self.watch())

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

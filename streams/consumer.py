"""Faust's consumer, mended in four places.

- While partitions are handed over, Faust's streams skip the records that they still hold, and acknowledge
  them; an acknowledgement out of turn can then commit an offset below which records were never handled. Here
  only what was delivered in the present generation, while records flow, can be acknowledged. The rest is read
  again.
- Faust asks brokers to wait up to 1.5 s for a record. The embedded broker does wait, partition by partition,
  even if a record comes meanwhile: half a second for each step of a touchpoint's way.
- While the state is recovered, only the changelog is asked for, by a set that Faust empties once the recovery is
  done. A fetch that was on its way asked for nothing then, which means everything: touchpoints were fetched,
  dropped, and never read again where no offset had been committed yet.
- Recovery reads up to the end of the changelog, which the embedded broker tells wrongly (`streams.offsets`).
"""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer
from faust.app import App as FaustApp
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.transports import TransportT

from streams.offsets import end_offsets

FETCH_WAIT_MS = 50


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """As Faust's, but it does not let brokers wait long."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(driver.Consumer):
    """As Faust's, but acknowledges nothing out of turn and knows where partitions end."""

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
        """Go back to what was committed; where nothing was, to the beginning."""
        committed: Mapping[TP, int] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        fresh = [tp for tp, offset in committed.items() if not offset and tp.topic not in changelogs]
        if fresh:
            await self._thread.seek_to_beginning(*fresh)
        return committed

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset behind the last record of each partition."""
        servers = driver.server_list(self.transport.url, driver.Transport.default_port)
        told = await end_offsets(servers, driver.ensure_aiokafka_TPset(partitions))
        return {tp: told[driver.ensure_aiokafka_TP(tp)] for tp in partitions}


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class App(FaustApp):
    """A Faust app with our consumer."""

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

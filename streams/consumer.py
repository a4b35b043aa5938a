"""Faust's consumer, mended: a record that was skipped is not acknowledged.

While partitions are handed over, Faust's streams skip the records that they still hold, and acknowledge
them; an acknowledgement out of turn can then commit an offset below which records were never handled. Here
only what was delivered in the present generation, while records flow, can be acknowledged. The rest is read
again.
"""

from faust.app import App as FaustApp
from faust.transport.drivers import aiokafka as driver
from faust.types import Message
from faust.types.transports import TransportT


class Consumer(driver.Consumer):
    """As Faust's, but what is acknowledged out of turn stays unacknowledged."""

    def ack(self, message: Message) -> bool:
        """Mark a record as done, so that its offset may be committed."""
        out_of_turn = message.generation_id != self.app.consumer_generation_id
        if out_of_turn or not self.app.flow_control.is_active():
            self._unacked_messages.discard(message)
            return False
        return super().ack(message)


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class App(FaustApp):
    """A Faust app with our consumer."""

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

"""The limit: a bare aiokafka consumer that decodes batches of touchpoints with msgspec and keeps nothing."""

import asyncio
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from models.touchpoint import Record


async def consume(bootstrap_servers: str, topic: str, partitions: int, expected: int) -> float:
    """Read until `expected` touchpoints came; touchpoints per second."""
    decoder = msgspec.json.Decoder(list[Record])
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    await consumer.start()
    seen, started = 0, 0.0
    while seen < expected:
        for messages in (await consumer.getmany(timeout_ms=1000)).values():
            started = started or time.perf_counter()
            for message in messages:
                seen += len(decoder.decode(message.value))
    rate = seen / (time.perf_counter() - started)
    await consumer.stop()
    return rate


if __name__ == "__main__":
    print(f"rate {asyncio.run(consume(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))}")

"""The peer: a Faust agent as the tutorials write it. One record per touchpoint, one ordinary table, one row each.

It does a small part of the work (it counts touchpoints per customer and remembers the last type). What it shows
is what a record and a table update cost when they are not batched.
`python -m benchmarks.naive_agent BROKER TOPIC PARTITIONS EXPECTED` prints touchpoints per second and waits to be ended.
"""

import sys
import tempfile
import time

import faust
import msgspec


def main(bootstrap_servers: str, topic_name: str, partitions: int, expected: int, folder: str) -> None:
    """Take `expected` records of the topic, print touchpoints per second from the first to the last."""
    app = faust.App(
        "naive",
        broker=f"kafka://{bootstrap_servers}",
        store="memory://",
        datadir=folder,
        topic_partitions=partitions,
        broker_rebalance_timeout=3.0,
        web_enabled=False,
        topic_disable_leader=True,
    )
    topic = app.topic(topic_name, value_serializer="raw", key_serializer="raw")
    customers = app.Table("customers", partitions=partitions, key_type=str, value_type=dict)
    taken, begun = 0, 0.0

    @app.agent(topic)
    async def stitch(stream: faust.StreamT[bytes]) -> None:
        nonlocal taken, begun
        async for value in stream:
            begun = begun or time.perf_counter()
            touchpoint = msgspec.json.decode(value)
            first = touchpoint["identifiers"][0]
            customer = f"{first['kind']}:{first['value']}"
            known = customers.get(customer, {"touchpoints": 0})
            customers[customer] = {
                "touchpoints": known["touchpoints"] + 1,
                "last_type": touchpoint.get("type"),
            }
            taken += 1
            if taken == expected:
                print(f"rate {expected / (time.perf_counter() - begun)}", flush=True)

    faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), temporary)

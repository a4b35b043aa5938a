"""Workers on a broker, fed directly: everything that can be killed is, and then every table is compared."""

import random
import time
from contextlib import AbstractContextManager
from pathlib import Path

from models.errors import DesirelineError
from models.journey_model import default_model
from models.routing import topic_of
from models.touchpoint import Clock
from streams.embedded_broker import EmbeddedBroker
from streams.topics import create_topics
from tests.converge.apache_kafka import ApacheKafka
from tests.converge.catching_up import await_caught_up
from tests.converge.happenings import Happenings, Outcome
from tests.converge.looking import Looker, agree
from tests.converge.publishing import Publisher, deliver
from tests.converge.traffic import END, Traffic, record
from tests.converge.violence import Violence
from tests.converge.workers import REBALANCE_TIMEOUT_S, SESSION_TIMEOUT_S, Workers
from tests.standing import differences, judged, watermark_differences
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

PARTITIONS = 8
LEAST_KILLS = 20


def run(
    folder: Path, seed: int, customers: int, seconds: float, happenings: Happenings, *, kafka: bool
) -> Outcome:
    """One run. NotCaughtUp."""
    model = default_model()
    traffic = Traffic(seed, customers)
    records = list(traffic.records(model, PARTITIONS))
    for what, count in traffic.counts.items():
        happenings.count("element", what, count)
    happenings.count("element", "published", sum(one.elements for one in records))
    happenings.count("record", "published", len(records))
    broker: ApacheKafka | EmbeddedBroker = ApacheKafka(folder / "kafka") if kafka else EmbeddedBroker()
    held: AbstractContextManager[ApacheKafka | EmbeddedBroker] = broker
    with held, EmbeddedWarehouse(str(folder / "warehouse")) as warehouse:
        migrate(warehouse.url)
        create_topics(broker.bootstrap_servers, PARTITIONS)
        settings = {
            "DESIRELINE_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DESIRELINE_WAREHOUSE_URL": warehouse.url,
            "DESIRELINE_PARTITIONS": str(PARTITIONS),
            "DESIRELINE_LIVE": "false",
            "DESIRELINE_WORKER_PORT": "0",
            "DESIRELINE_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "DESIRELINE_BROKER_REBALANCE_TIMEOUT_S": str(REBALANCE_TIMEOUT_S),
        }
        workers = Workers(folder, settings, happenings)
        looker = Looker(warehouse.server_url, model.phases)
        publisher = Publisher(broker.bootstrap_servers, records, seconds)
        violence = Violence(
            random.Random(seed + 1),
            workers,
            warehouse,
            broker if isinstance(broker, ApacheKafka) else None,
            happenings,
        )
        try:
            for number in range(2):
                workers.start(number)
            looker.start()
            publisher.start()
            _rage(violence, workers, happenings, seed, seconds)
            violence.calm()
            _finish(publisher, violence)
            happenings.say(f"all was published, the clock is told; {publisher.sent_again} records went again")
            deliver(
                broker.bootstrap_servers,
                [
                    record(topic_of("web"), partition, [Clock(at=END, source="converge")])
                    for partition in range(PARTITIONS)
                ],
            )
            await_caught_up(broker.bootstrap_servers, happenings, workers.tend)
            looker.stop()
            agree(looker)
            with client(warehouse.url) as connected:
                found = differences(connected, judged(traffic.elements, END, model), model)
                found += watermark_differences(connected, PARTITIONS, END)
        finally:
            workers.end()
    looker.count(happenings)
    return Outcome([*looker.wrong, *map(str, found)], traffic.touchpoints)


def _rage(violence: Violence, workers: Workers, happenings: Happenings, seed: int, seconds: float) -> None:
    """Until the time is over and enough was killed."""
    pauses = random.Random(seed + 2)
    began = time.monotonic()
    next_at = began + 8.0
    while time.monotonic() < began + seconds or happenings.kills < LEAST_KILLS:
        violence.tend()
        if time.monotonic() >= next_at:
            violence.act()
            next_at = time.monotonic() + pauses.choice((0.5, 1.0, 2.0, 4.0, 8.0))
        time.sleep(0.1)


def _finish(publisher: Publisher, violence: Violence) -> None:
    while publisher.is_alive():
        violence.tend()
        time.sleep(0.1)
    if not publisher.done:
        raise DesirelineError("not all could be published")

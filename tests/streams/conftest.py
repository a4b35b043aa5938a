"""A broker of its own per test: topics and groups have fixed names, and a new broker is there in 0.2 s."""

from collections.abc import Iterator

import pytest

from streams.embedded_broker import EmbeddedBroker
from tests.streams.pipeline import Pipeline


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    with EmbeddedBroker() as broker, Pipeline(broker.bootstrap_servers) as running:
        yield running

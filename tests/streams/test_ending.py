"""A worker that was told to end, while something is still to be sent."""

import asyncio

import pytest
from faust.exceptions import NotReady

from models.journey_model import default_model
from streams.app import Worker
from streams.config import WorkerConfig
from streams.protocol import Nodes


def owing() -> Worker:
    """A worker whose producer is not running, with a watermark to keep."""
    model = default_model()
    worker = Worker(WorkerConfig(bootstrap_servers="127.0.0.1:9", model=model, send_interval_s=0))
    nodes = Nodes(0, 1, model)
    nodes.guard({}, {})
    nodes.watermark.clock(1)
    worker.households.nodes = {0: nodes}
    worker.households.recovering = False
    return worker


async def run(worker: Worker) -> None:
    await asyncio.wait_for(worker.stitcher.run(), 5)


def test_what_cannot_be_sent_any_more_is_left_to_who_comes_after() -> None:
    worker = owing()
    worker.app._stopped.set()
    asyncio.run(run(worker))
    assert worker.stitcher.released == {}


def test_what_cannot_be_sent_otherwise_is_an_error() -> None:
    with pytest.raises(NotReady):
        asyncio.run(run(owing()))

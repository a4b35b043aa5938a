"""How long analysts wait, beside DuckDB, polars and pandas on the same touchpoints in the same run.

All read the same folder, which is made first and kept, in BENCH_ANALYSES_FOLDER or beside other temporary files:
that takes minutes. Every question is asked once to warm up, and the median of the next ones counts. Where a peer counts
what we count, its numbers are compared, too.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from benchmarks import large_folder
from benchmarks.analysis_peers import PEERS, Peer
from benchmarks.figures import Figure
from benchmarks.programs import BenchmarkError
from warehouse import connect, conversion, customers, funnels, paths
from warehouse.answer import Answer
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse

TOUCHPOINTS = int(os.environ.get("BENCH_ANALYSES_TOUCHPOINTS", "10000000"))
_PLACE = Path(
    os.environ.get("BENCH_ANALYSES_FOLDER", Path(tempfile.gettempdir()) / "desireline-bench-analyses")
)
_TIMES = 5
_WINDOW_MS = 7 * 86_400_000
FIVE = ("ad_click", "product_view", "add_to_cart", "checkout_started", "purchase")
TWENTY = (*FIVE, *FIVE, *FIVE, *FIVE)


def measure() -> list[Figure]:
    """Seconds of every question, ours and the peers', and the bytes that ours read."""
    touchpoints = large_folder.made(_PLACE, TOUCHPOINTS)
    with EmbeddedWarehouse(str(_PLACE / "warehouse")) as warehouse, client(warehouse.url) as reading:
        engine = connect(warehouse.url)
        journeys = int(reading.command("select count() from journeys"))
        someone = str(reading.command("select customer_id from journeys order by cityHash64(id) limit 1"))
        number = int(reading.command("select cityHash64({who:String})", parameters={"who": someone}))
        asked = _questions(engine, someone)
        ours = {name: _timed(question) for name, question in asked.items()}
        beside = f"{touchpoints:,} touchpoints, {journeys:,} journeys"
        figures = [
            Figure(f"analysis_{name}_s", seconds, "s", f"{_megabytes(reading, asked[name])}; {beside}")
            for name, (seconds, _) in ours.items()
        ]
        of_peers = _touchpoints(reading)
    for make in PEERS:
        peer = make(of_peers)
        for name, (seconds, found) in _of_peer(peer, number).items():
            _agree(name, peer, found, ours[name][1])
            ratio = seconds / ours[name][0]
            figures.append(
                Figure(
                    f"analysis_{name}_{peer.name.lower()}_s",
                    seconds,
                    "s",
                    f"{peer.name}, in memory: {ratio:.1f} × ours",
                )
            )
    return figures


def _questions(engine: Engine, someone: str) -> dict[str, Callable[[], Answer]]:
    return {
        "funnel_5_steps": lambda: funnels.funnel(engine, FIVE),
        "funnel_5_steps_by_channel": lambda: funnels.funnel(engine, FIVE, by="channel"),
        "funnel_20_steps": lambda: funnels.funnel(engine, TWENTY),
        "paths": lambda: paths.paths(engine, within="7d", most_edges=100_000),
        "conversion_by_day": lambda: conversion.conversion(engine),
        "one_customer": lambda: customers.customer(engine, someone),
    }


def _of_peer(peer: Peer, number: int) -> dict[str, tuple[float, Any]]:
    return {
        "funnel_5_steps": _timed(lambda: peer.funnel(FIVE, _WINDOW_MS)),
        "funnel_5_steps_by_channel": _timed(lambda: peer.funnel_by_channel(FIVE, _WINDOW_MS)),
        "paths": _timed(lambda: peer.transitions(_WINDOW_MS)),
        "one_customer": _timed(lambda: peer.customer(number)),
    }


def _timed(question: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds, warm, and the answer."""
    found, seconds = question(), []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        found = question()
        seconds.append(time.perf_counter() - begun)
    return median(seconds), found


def _agree(name: str, peer: Peer, found: Any, answer: Answer) -> None:
    """BenchmarkError if a peer has counted something else."""
    ours: Any = None
    if name == "funnel_5_steps":
        ours = answer["count"].to_list()
    elif name == "paths":
        ours = {(row["source"], row["target"]): row["count"] for row in answer.to_dict("records")}
    elif name == "one_customer":
        ours = len(answer)
    if ours is not None and ours != found:
        raise BenchmarkError(f"{name}: {peer.name} counts {found}, and not {ours}")


def _megabytes(reading: Client, question: Callable[[], Answer]) -> str:
    """What the engine reads for a question, as it counts itself; nobody else asks meanwhile."""
    before = _selected(reading)
    question()
    return f"{(_selected(reading) - before) / 1e6:,.0f} MB read"


def _selected(reading: Client) -> int:
    return int(reading.command("select sum(value) from system.events where event = 'SelectedBytes'"))


def _touchpoints(reading: Client) -> pa.Table:
    table: pa.Table = reading.query_arrow(
        """
        select cityHash64(customer_id) as customer, cityHash64(journey_id) as journey,
               toUnixTimestamp64Milli(occurred_at) as at_ms, id, toString(type) as type, toString(channel) as channel
        from touchpoints order by customer, at_ms, id""",
        use_strings=True,
    )
    for place, name in enumerate(table.column_names):
        if name in ("type", "channel"):
            table = table.set_column(place, name, table[name].dictionary_encode())
    return table

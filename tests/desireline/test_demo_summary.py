"""The demo's summary, over a real warehouse that holds simulated customers."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from sqlalchemy import Engine

from desireline import demo_summary
from desireline.demo_proof import Finding
from desireline.running import Urls
from tests.simulated import MODEL, NOW, simulated
from warehouse import connect
from warehouse.aggregates import Aggregates
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate
from warehouse.writer import Writer


@pytest.fixture(scope="module")
def connection() -> Iterator[Engine]:
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        loader = client(warehouse.url)
        Writer(loader).write(simulated(150, seed=3), "first")
        Aggregates(loader, Writer(loader), MODEL.phases).recompute(NOW - 60 * 86_400_000, NOW)
        engine = connect(warehouse.url)
        yield engine
        engine.dispose()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_cut_off_in_a_terminal_of_that_width(connection: Engine, width: int) -> None:
    out = io.StringIO()
    facts = demo_summary.Facts(
        finding=Finding(customers=[], journeys=[], owners={}, touchpoints=[], missing=[]),
        alert=demo_summary.Alert(
            id="1", kind="call", channel="voice", message="calls wait", opened_at=None, resolved_at=None
        ),
        touchpoints=1_000,
        loaded_s=2.0,
        balance="1,000 accepted = 990 loaded + 10 sent again; 0 rejected: it adds up",
        took_s=3.0,
        urls=Urls(pages="", collector="", warehouse="", warehouse_reader="", broker="", worker=""),
        write_key="local",
    )
    demo_summary.show(Console(file=out, width=width), connection, facts)
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= width
    for heading in ("of those before", "after (median)", "journeys", "times"):
        assert heading in out.getvalue()

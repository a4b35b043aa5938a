"""The loader: nothing is acknowledged before it is there, also when the warehouse goes away."""

import asyncio
import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from models.alerts import MINUTE_MS, Abandonment
from models.identifier import Identifier
from models.touchpoint import Touchpoint
from models.verdict import Attempt, Facts, JudgedTouchpoint, Verdict
from streams.load import Loader, LoadSettings, Record
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.loading import Loading
from warehouse.migrations import migrate

NOW = 1_800_000_000_000 // MINUTE_MS * MINUTE_MS
PHASES = ("Awareness", "Purchase")
SETTINGS = LoadSettings(linger_s=0.02, backoff_s=0.05, backoff_at_most_s=0.2)
numbers = itertools.count()


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedWarehouse]:
    """A warehouse that may be stopped and started."""
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        yield running


def facts(*ids: str, at: int = NOW, outcome: str = "completed") -> bytes:
    rows = []
    for id in ids:
        t = Touchpoint(
            id=id, source="s", source_instance="x", source_event_id=id, source_type="t", channel="voice",
            type="call_queued", occurred_at=at, received_at=at, identifiers=(Identifier("phone", "+491"),),
        )  # fmt: skip
        ended = Attempt("call", outcome, at)
        verdict = Verdict("c", "j", 1, "Purchase", "stay", "x", False, False, 0, False, attempts=(ended,))
        rows.append(JudgedTouchpoint(t, verdict, 1))
    return msgspec.msgpack.encode(Facts(touchpoints=rows))


class Run:
    """A loader at work, what it acknowledged, and what it told of abandonment."""

    def __init__(self, url: str, settings: LoadSettings = SETTINGS) -> None:
        self.done: list[str] = []
        self.told: list[Abandonment] = []
        self.loader = Loader(Loading(url, PHASES), self._tell, settings=settings, now=lambda: NOW + MINUTE_MS)

    async def _tell(self, abandonment: list[Abandonment]) -> None:
        self.told += abandonment

    async def put(self, name: str, value: bytes, kind: str = "facts") -> None:
        await self.loader.put(Record(kind, value, lambda: self.done.append(name)))

    async def until(self, condition: Callable[[], bool], within_s: float = 20) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.01)

    def at_work(self, scenario) -> None:
        async def both() -> None:
            running = asyncio.create_task(self.loader.run())
            try:
                await scenario(self)
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(both())


def loaded(url: str, prefix: str) -> list[str]:
    with client(url) as connected:
        question = f"select id from touchpoints where startsWith(id, '{prefix}') order by id"
        return [id for (id,) in connected.query(question).result_rows]


def new_prefix() -> str:
    return f"load{next(numbers)}-"


def test_records_are_acknowledged_in_order_when_they_and_their_buckets_are_there(own: EmbeddedWarehouse):
    prefix = new_prefix()

    async def scenario(run: Run) -> None:
        for n in range(20):
            await run.put(f"r{n}", facts(f"{prefix}{n:02d}"))
        await run.until(lambda: len(run.done) == 20)

    run = Run(own.url)
    run.at_work(scenario)
    assert run.done == [f"r{n}" for n in range(20)]
    assert loaded(own.url, prefix) == [f"{prefix}{n:02d}" for n in range(20)]
    with client(own.url) as connected:
        assert connected.query("select sum(completed) from attempts_1m").first_row == (20,)


def test_recent_minutes_are_told_with_what_is_usual_and_history_is_not(own: EmbeddedWarehouse):
    prefix = new_prefix()
    minute = NOW - 3 * MINUTE_MS

    async def scenario(run: Run) -> None:
        for day in range(1, 8):
            at = minute - day * 24 * 60 * MINUTE_MS
            ids = [f"{prefix}h{day}-{n}" for n in range(50)]
            await run.put("history", facts(*ids[:40], at=at))
            await run.put("history", facts(*ids[40:], at=at, outcome="abandoned"))
        await run.until(lambda: len(run.done) == 14)
        assert run.told == []
        await run.put("now", facts(f"{prefix}a", f"{prefix}b", at=minute, outcome="abandoned"))
        await run.put("now", facts(f"{prefix}c", at=minute))
        await run.until(lambda: len(run.done) == 16)

    run = Run(own.url)
    run.at_work(scenario)
    told = run.told[-1]
    assert (told.kind, told.channel) == ("call", "voice")
    bucket = told.buckets[-1]
    assert (bucket.minute, bucket.completed, bucket.abandoned) == (minute, 1, 2)
    assert bucket.expected_rate == pytest.approx(0.2, abs=0.02)
    assert bucket.expected_trials == pytest.approx(400, abs=20)
    assert bucket.version > 0


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_warehouse_that_goes_away_for_a_while_loses_nothing(own: EmbeddedWarehouse, how: str, caplog):
    prefix = new_prefix()

    async def scenario(run: Run) -> None:
        await run.put("before", facts(f"{prefix}0"))
        await run.until(lambda: run.done == ["before"])
        loop = asyncio.get_running_loop()
        ending = loop.run_in_executor(None, own.stop, signal.SIGTERM if how == "stopped" else signal.SIGKILL)
        for n in range(1, 30):
            await run.put(f"r{n}", facts(f"{prefix}{n}"))
            await asyncio.sleep(0.01)
        await ending
        acknowledged = len(run.done)
        await run.put("away", facts(f"{prefix}away"))
        await run.until(lambda: "takes no rows" in caplog.text)
        await asyncio.sleep(0.3)
        assert len(run.done) == acknowledged
        await loop.run_in_executor(None, own.start)
        await run.until(lambda: len(run.done) == 31)

    run = Run(own.url)
    with caplog.at_level(logging.INFO):
        run.at_work(scenario)
    assert "takes rows again" in caplog.text
    assert sorted(loaded(own.url, prefix)) == sorted([*(f"{prefix}{n}" for n in range(30)), f"{prefix}away"])
    with client(own.url) as connected:
        counted = connected.query("select sum(completed + abandoned) from attempts_1m").first_row
        assert counted == connected.query("select count() from attempts where outcome != 'open'").first_row


def test_while_the_warehouse_is_away_no_more_is_taken_than_may_wait():
    run = Run(
        "http://127.0.0.1:9/desireline", msgspec.structs.replace(SETTINGS, waiting_bytes=1, group_bytes=1)
    )
    taken = []

    async def scenario(run: Run) -> None:
        async def put_all() -> None:
            for n in range(10):
                await run.put(str(n), facts("x"))
                taken.append(n)

        putting = asyncio.create_task(put_all())
        await asyncio.sleep(0.5)
        putting.cancel()

    run.at_work(scenario)
    assert run.done == []
    assert len(taken) <= 3


def test_what_nobody_can_read_is_shown_among_the_rejected(own: EmbeddedWarehouse, caplog):
    prefix = new_prefix()

    async def scenario(run: Run) -> None:
        await run.put("broken", b"\xc1 nonsense")
        await run.put(
            "rejection", b'{"id":"x1","received_at":1,"reason":"bad_time","headers":{}}', "rejection"
        )
        await run.put("whole", facts(f"{prefix}1"))
        await run.until(lambda: len(run.done) == 3)

    run = Run(own.url)
    run.at_work(scenario)
    assert loaded(own.url, prefix) == [f"{prefix}1"]
    with client(own.url) as connected:
        found = connected.query("select reason from rejected_touchpoints order by reason").result_rows
    assert found == [("bad_time",), ("unloadable",)]
    assert "cannot be loaded" in caplog.text


def test_a_fault_that_is_not_the_warehouses_ends_the_loader_and_acknowledges_nothing(own: EmbeddedWarehouse):
    run = Run(own.url)

    async def broken(abandonment: list[Abandonment]) -> None:
        raise ConnectionResetError("the broker is gone")

    run.loader = Loader(Loading(own.url, PHASES), broken, settings=SETTINGS, now=lambda: NOW + MINUTE_MS)

    async def scenario() -> None:
        await run.put("r", facts(f"{new_prefix()}1"))
        await run.loader.run()

    with pytest.raises(ConnectionResetError):
        asyncio.run(scenario())
    assert run.done == []

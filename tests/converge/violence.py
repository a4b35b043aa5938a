"""What is done to a running pipeline, drawn by the seed: processes killed, frozen, joining, leaving; a warehouse
that is gone, or takes no rows."""

import heapq
import random
import signal
import time
from collections.abc import Callable
from typing import Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from tests.converge.happenings import Happenings
from tests.converge.workers import SESSION_TIMEOUT_S, Workers
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse

MOST_WORKERS = 3
REFUSING_TABLES = ("touchpoint_rows", "journey_rows", "attempts_1m_rows", "identity_rows")
LIMITS = ("parts_to_delay_insert", "parts_to_throw_insert")


class Killable(Protocol):
    """A broker that keeps what it has."""

    def start(self) -> None: ...

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None: ...


class Violence:
    """Does one thing after another; what follows from it later (a thaw, a restart) is done when it is due."""

    def __init__(
        self,
        rng: random.Random,
        workers: Workers,
        warehouse: EmbeddedWarehouse,
        broker: Killable | None,
        happenings: Happenings,
    ) -> None:
        self._rng = rng
        self._workers = workers
        self._warehouse = warehouse
        self._broker = broker
        self._happenings = happenings
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._warehouse_up = True
        self._broker_up = True
        self._refusing: str | None = None
        every: list[tuple[int, Callable[[], None]]] = [
            (5, self._kill_a_worker),
            (4, self._freeze_a_worker),
            (2, self._kill_during_recovery),
            (2, self._one_joins_or_leaves),
            (1, self._kill_all_workers),
            (2, self._kill_the_warehouse),
            (2, self._make_the_warehouse_refuse),
        ]
        if broker is not None:
            every += [(2, self._kill_the_broker), (1, self._restart_the_broker)]
        self._deck = [act for often, act in every for _ in range(often)]
        self._left: list[Callable[[], None]] = []

    def act(self) -> None:
        """Do the next thing. Everything has its turn before anything has a second round of turns."""
        if not self._left:
            self._left = self._rng.sample(self._deck, k=len(self._deck))
        self._left.pop()()

    def tend(self) -> None:
        """Do what has become due, and start again what ended by itself."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        self._workers.tend()

    def calm(self) -> None:
        """Do at once all that was to follow; two workers, the warehouse and the broker are left running."""
        while self._due:
            heapq.heappop(self._due)[2]()
        for number in self._workers.numbers[2:]:
            self._workers.leave(number)
        for number in range(MOST_WORKERS):
            if len(self._workers.numbers) < 2 and number not in self._workers.numbers:
                self._workers.start(number)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._planned, act))

    # --- workers ---

    def _some_worker(self) -> int | None:
        awake = [number for number in self._workers.numbers if number not in self._workers.frozen]
        return self._rng.choice(awake) if awake else None

    def _start(self, number: int) -> None:
        if number not in self._workers.numbers:
            self._workers.start(number)

    def _kill(self, number: int, why: str = "") -> None:
        self._workers.kill(number)
        self._happenings.note("worker", "killed", f"worker {number}{why}")

    def _kill_a_worker(self) -> None:
        if (number := self._some_worker()) is not None:
            self._kill(number)
            self._later(self._rng.choice((0.0, 1.0, 4.0)), lambda: self._start(number))

    def _freeze_a_worker(self) -> None:
        if (number := self._some_worker()) is None:
            return
        seconds = SESSION_TIMEOUT_S + self._rng.uniform(1.0, 5.0)
        self._workers.freeze(number)
        self._happenings.note("worker", "frozen", f"worker {number} for {seconds:.1f} s")
        self._later(seconds, lambda: self._workers.thaw(number))

    def _kill_during_recovery(self) -> None:
        if (number := self._some_worker()) is None:
            return
        self._kill(number)
        self._start(number)

        def again() -> None:
            if number in self._workers.numbers and number not in self._workers.frozen:
                self._kill(number, ", still recovering")
                self._start(number)

        self._later(self._rng.uniform(2.0, 6.0), again)

    def _one_joins_or_leaves(self) -> None:
        absent = [number for number in range(MOST_WORKERS) if number not in self._workers.numbers]
        if absent:
            self._workers.start(absent[0])
            self._happenings.note("worker", "joined", f"worker {absent[0]}")
        elif (number := self._some_worker()) is not None:
            self._workers.leave(number)
            self._happenings.note("worker", "left", f"worker {number}")

    def _kill_all_workers(self) -> None:
        for number in self._workers.numbers:
            self._kill(number, ", with all others")
        for number in range(MOST_WORKERS):
            self._start(number)
        self._happenings.note("worker", "three at once joined")

    # --- warehouse ---

    def _kill_the_warehouse(self) -> None:
        if not self._warehouse_up:
            return
        self._warehouse.stop(signal.SIGKILL)
        self._warehouse_up = False
        self._happenings.note("warehouse", "killed")

        def again() -> None:
            self._warehouse.start()
            self._warehouse_up = True

        self._later(self._rng.uniform(0.0, 4.0), again)

    def _make_the_warehouse_refuse(self) -> None:
        """The engine refuses inserts into a table that has more parts than are allowed: here, more than one."""
        if not self._warehouse_up or self._refusing is not None:
            return
        table = self._rng.choice(REFUSING_TABLES)
        self._alter(f"alter table {table} modify setting {', '.join(f'{name} = 1' for name in LIMITS)}")
        self._refusing = table
        seconds = self._rng.uniform(2.0, 6.0)
        self._happenings.note("warehouse", "refused inserts", f"{table} for {seconds:.1f} s")
        self._later(seconds, self._make_the_warehouse_take)

    def _make_the_warehouse_take(self) -> None:
        if not self._warehouse_up:
            self._later(0.5, self._make_the_warehouse_take)
            return
        self._alter(f"alter table {self._refusing} reset setting {', '.join(LIMITS)}")
        self._refusing = None

    def _alter(self, statement: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with client(self._warehouse.url) as connected:
                    connected.command(statement)
                return
            except (ClickHouseError, HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    # --- broker ---

    def _kill_the_broker(self) -> None:
        self._stop_the_broker(signal.SIGKILL, "killed")

    def _restart_the_broker(self) -> None:
        self._stop_the_broker(signal.SIGTERM, "restarted")

    def _stop_the_broker(self, how: signal.Signals, what: str) -> None:
        if self._broker is None or not self._broker_up:
            return
        broker = self._broker
        broker.stop(how)
        self._broker_up = False
        self._happenings.note("broker", what)

        def again() -> None:
            broker.start()
            self._broker_up = True

        self._later(self._rng.uniform(0.0, 3.0), again)

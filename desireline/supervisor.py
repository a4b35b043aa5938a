"""`desireline up`: the parts as children of one process, started in order, restarted, ended without a trace.

The embedded broker keeps nothing on disk and all in memory: it deletes nothing, whatever a topic's retention
says, and knows no DeleteRecords. When it ends, or is renewed because of its memory, the worker and the
republisher stop, a new broker gets its topics, and the republisher puts back what the new one lacks; the
collector stays, since its spool keeps what is sent meanwhile.
"""

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import msgspec
import psutil

from desireline import children, progress
from desireline.asking import locked
from desireline.current_model import configured_model_text, identifiers_read_by
from desireline.embedded_settings import LOCAL, check_ports, embedded
from desireline.errors import NoWarehouse, UpError
from desireline.parts import Part
from desireline.ports import reachable
from desireline.running import Child, DataFolder, Running, Urls, write_whole
from desireline.settings import Settings
from models.journey_model import load_model

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from warehouse.journey_models import RegisteredModel

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_MEMORY_EVERY_S = 5.0
_MODEL_EVERY_S = 2.0
_LOG_LIMIT_BYTES = 50_000_000
_END_PATIENCE_S = 15.0


class Supervisor:
    """Everything on one machine. Use it as a context: within it all parts are ready; after it none is left.

    `say` is given sentences for the user. UpError if a port or the folder is taken or a part does not start.
    """

    def __init__(self, settings: Settings, *, say: Callable[[str], None], empty: bool = False) -> None:
        self.folder = DataFolder(settings.data)
        self.say = say
        self._given = settings
        self._empty = empty
        self._parts: dict[str, Part] = {}
        self._stopping = threading.Event()
        self._all_ended = threading.Event()
        self._changing = threading.RLock()  # one at a time starts, stops or renews parts
        self._broker_baseline_bytes = 0
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._held = contextlib.ExitStack()
        # one for all questions: httpx.get would read in all certificates each time, 20 ms of a core
        self._http = httpx.Client(timeout=2, limits=httpx.Limits(max_keepalive_connections=0))
        self._held.enter_context(self._http)
        self.failure: str | None = None
        self.settings = settings
        self._model: RegisteredModel
        self.running: Running

    def __enter__(self) -> "Supervisor":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all children: first who takes and asks, then the worker, last broker and warehouse."""
        self._stopping.set()
        with self._changing:
            for names in (("dashboards", "collector", "republisher"), ("worker",), ("broker", "warehouse")):
                self._end(*names)
        self._all_ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._held.close()

    def restart(self, name: str) -> None:
        """Kill one part as if it had failed; it is started again by itself. For drills and tests."""
        if process := self._parts[name].process:
            process.kill()

    # starting

    def _start(self) -> None:
        begun = time.monotonic()
        try:
            self._hold_folder()
            self.settings = embedded(self._given, str(self.folder.path), self.say)
            check_ports(self.settings)
            self._forget_progress()
            self._write_running()
            self._define_parts()
            if not self.folder.confirmed_file.exists():
                self.folder.write_confirmed(0)
            self._spawn("warehouse")
            self._spawn("broker")
            self._spawn("dashboards")  # takes longest to be read in, and waits for the warehouse by itself
            self._read_in()
            self._await("warehouse")
            self._migrate()
            self._take_journey_model()
            self._await("broker")
            self._create_topics()
            self._spawn("collector")
            self._spawn("worker")
            self._await("dashboards")
            self._await("collector")
            self._spawn("republisher")
            self._await("worker")
        except psutil.Error as error:
            raise UpError(f"a child process is not to be seen: {error}") from error
        self._watcher.start()
        self.say(f"everything is ready after {time.monotonic() - begun:.1f} s")

    def _hold_folder(self) -> None:
        try:
            self.folder.create()
        except OSError as error:
            raise UpError(
                f'"{self.folder.path}" cannot be written: {error.strerror}',
                remedy="Choose another with --data.",
            ) from error
        try:
            self._held.enter_context(locked(self.folder))
        except NoWarehouse:
            running = self.folder.alive()
            by = f"desireline up (pid {running.supervisor.pid})" if running else "another desireline"
            raise UpError(
                f'{by} already works on "{self.folder.path}"',
                remedy="End it first, or choose another folder with --data.",
            ) from None
        if before := self.folder.running():
            left = [process for child in before.children if (process := child.process())]
            if left:
                self.say(f"ending {len(left)} processes that an earlier run on this folder left behind")
                children.end(left, patience_s=5)
        if self._empty:
            for place in self.folder.path.iterdir():
                if place.is_dir():
                    shutil.rmtree(place)
                elif place != self.folder.lock:
                    place.unlink()
            self.folder.create()

    def _define_parts(self) -> None:
        settings = self.settings
        for name, arguments, ready in (
            ("broker", ("broker",), lambda: reachable(settings.broker_port)),
            ("warehouse", ("warehouse", "serve"), self._answers(settings.warehouse_port, "/ping")),
            ("dashboards", ("dashboards",), self._answers(settings.dashboards_port, "/healthz")),
            ("collector", ("collector",), self._answers(settings.collector_port, "/healthz")),
            ("worker", ("worker",), self._answers(settings.worker_port, "/readyz")),
            ("republisher", ("republish",), lambda: True),
        ):
            log_file = self.folder.logs / f"{name}.log"
            self._parts[name] = Part(name, *arguments, log_file=log_file, ready=ready)

    def _answers(self, port: int, path: str) -> Callable[[], bool]:
        def ready() -> bool:
            try:
                return self._http.get(f"http://{LOCAL}:{port}{path}").status_code == 200
            except httpx.TransportError:
                return False

        return ready

    def _read_in(self) -> None:
        """What is needed as soon as the warehouse answers, while it opens: a second of this process."""
        import warehouse.journey_models
        import warehouse.migrations  # noqa: F401

    def _migrate(self) -> None:
        from warehouse.migrations import migrate

        migrate(self.settings.warehouse_url)

    def _take_journey_model(self) -> None:
        """The warehouse's current model for all parts; the one that is set, where there is none yet."""
        from warehouse.journey_models import register_first

        text, where = configured_model_text(self.settings), self.settings.journey_model or "default.yaml"
        with contextlib.closing(self._warehouse_client()) as client:
            self._model = register_first(client, text, where=where)
        if self.settings.journey_model and load_model(text, where=where) != self._model.model:
            self.say(
                f"the rows of this folder were judged under another journey model than {where}, and new ones "
                f"are, too; `desireline rebuild --model {where}` applies it to all of them"
            )
        self._write_journey_model()

    def _write_journey_model(self) -> None:
        write_whole(self.folder.journey_model, self._model.text.encode())
        self.settings = msgspec.structs.replace(self.settings, journey_model=str(self.folder.journey_model))

    def _warehouse_client(self) -> "Client":
        from warehouse.connection import client

        return client(self.settings.warehouse_url)

    def _create_topics(self) -> None:
        from streams.topics import create_topics

        create_topics(
            self.settings.bootstrap_servers,
            self.settings.partitions,
            own_channels=self._model.model.own_channels,
        )

    # children

    def _spawn(self, name: str) -> None:
        self._parts[name].spawn(self.settings)
        self._write_running()

    def _await(self, name: str) -> None:
        self._parts[name].await_ready(self._stopping)

    def _end(self, *names: str, patience_s: float = _END_PATIENCE_S) -> None:
        parts = [self._parts[name] for name in names if name in self._parts]
        there = [process for part in parts if (process := part.process)]
        children.end(there, patience_s=patience_s)
        for part in parts:
            part.ended()
        if parts and hasattr(self, "running"):
            self._write_running()

    def _write_running(self) -> None:
        settings = self.settings
        shown = settings.host if settings.host not in ("0.0.0.0", "::") else LOCAL  # noqa: S104  only compared
        self.running = Running(
            data_dir=str(self.folder.path),
            supervisor=Child.of("up", os.getpid()),
            urls=Urls(
                pages=f"http://{shown}:{settings.dashboards_port}",
                collector=f"http://{shown}:{settings.collector_port}",
                warehouse=settings.warehouse_url,
                warehouse_reader=settings.warehouse_reader_url,
                broker=settings.bootstrap_servers,
                worker=f"http://{LOCAL}:{settings.worker_port}",
            ),
            write_keys=settings.write_keys,
            identity_editors=settings.editors,
            stripe_secret=settings.stripe_secret,
            partitions=settings.partitions,
            children=tuple(part.child for part in self._parts.values() if part.child),
        )
        self.folder.write_running(self.running)

    # watching

    def _watch(self) -> None:
        memory_at = time.monotonic() + _MEMORY_EVERY_S
        model_at = time.monotonic() + _MODEL_EVERY_S
        while not self._stopping.wait(_LOOK_EVERY_S):
            try:
                with self._changing:
                    if self._stopping.is_set():
                        break
                    self._look()
                    now_and_then = time.monotonic() > memory_at
                    self._look_at_broker_memory(renew=now_and_then)
                    if now_and_then:
                        memory_at = time.monotonic() + _MEMORY_EVERY_S
                        self._shorten_logs()
                    if time.monotonic() > model_at:
                        self._look_at_journey_model()
                        model_at = time.monotonic() + _MODEL_EVERY_S
            except Exception:  # a supervisor that ends takes all with it
                log.exception("the supervisor's round failed; the next one tries again")
        self._all_ended.wait()  # Linux kills whom this thread has started as soon as it is gone

    def _look(self) -> None:
        broker = self._parts["broker"]
        if not broker.alive and broker.restart_at is None:
            self._plan_restart(broker)
        if broker.restart_at is not None:
            if time.monotonic() >= broker.restart_at:
                self._renew_broker()
            return
        for part in self._parts.values():
            if part.restart_at is not None:
                if time.monotonic() >= part.restart_at:
                    self._spawn(part.name)
            elif not part.alive:
                self._plan_restart(part)

    def _look_at_journey_model(self) -> None:
        """Where a rebuild has made another model current, the parts that know it are started again.

        The worker sees it by itself, too, and may have ended already.
        """
        from warehouse.journey_models import CURRENT_FINGERPRINT, current
        from warehouse.write_errors import WarehouseError, warehouse_errors

        before = self._model
        server, _, database = self.settings.warehouse_url.rpartition("/")
        try:  # not by the client, which is patient: a warehouse that hangs must not hold up the watch
            asked = {"database": database, "query": CURRENT_FINGERPRINT}
            answer = self._http.get(server, params=asked)
            if answer.status_code != 200 or answer.text.strip() in ("", before.fingerprint):
                return
            with warehouse_errors("journey_models"), contextlib.closing(self._warehouse_client()) as client:
                now = current(client)
        except (httpx.TransportError, WarehouseError):  # it is being started again
            return
        if now is None:
            return
        self._model = now
        self._write_journey_model()
        names = ["worker", "dashboards"]
        if identifiers_read_by(before.model) != identifiers_read_by(now.model):
            names.append("collector")
        self.say(f"journey model {now.number} is current now; {', '.join(names)} start again with it")
        for name in names:
            self._end(name)
            self._spawn(name)

    def _plan_restart(self, part: Part) -> None:
        how = part.plan_restart()
        if not self._stopping.is_set():
            self.say(f"the {part.name} {how}; started again")

    def _renew_broker(self) -> None:
        """A new broker in the place of the old one, and what it lacks put back."""
        # what they have in hand is found again by comparing the spool with the warehouse
        self._end("worker", "republisher", patience_s=3)
        self._end("broker", patience_s=1)
        self._forget_progress()
        try:
            # the broker makes a topic that someone publishes to, with too few partitions
            with self._parts["collector"].paused():
                self._spawn("broker")
                self._await("broker")
                self._create_topics()
        except Exception:  # whatever it is: this thread is who starts everything else again, and must go on
            log.exception("the broker does not start; it is tried again")
            self._plan_restart(self._parts["broker"])
            return
        self._spawn("worker")
        self._spawn("republisher")

    def _look_at_broker_memory(self, *, renew: bool) -> None:
        process = self._parts["broker"].process
        if process is None:
            return
        used = process.memory_info().rss
        if not self._broker_baseline_bytes:
            # what is put back fills a new one, too: renewing at less than twice that would go round for ever
            self._broker_baseline_bytes = used if self._put_back() else 0
        elif renew:
            limit = self.settings.broker_memory_limit_bytes or psutil.virtual_memory().total // 4
            if used > max(limit, 2 * self._broker_baseline_bytes):
                self.say(f"the broker holds {used / 1e6:,.0f} MB and is renewed")
                self._renew_broker()

    def _forget_progress(self) -> None:
        """A new broker: nothing is put back yet, and what it takes when all is put back is learnt anew."""
        self._broker_baseline_bytes = 0
        self.folder.progress.unlink(missing_ok=True)

    def _put_back(self) -> bool:
        now = progress.read(self.folder)
        return now is not None and now.finished_at is not None

    def _shorten_logs(self) -> None:
        for path in self.folder.logs.glob("*.log"):
            if path.stat().st_size > _LOG_LIMIT_BYTES:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)  # children append, so they go on at the new end

"""The warehouse that a query is put to: a running `up`, the data folder of a stopped one, or a URL."""

import contextlib
import fcntl
import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import psutil

from desireline import children
from desireline.errors import NoWarehouse
from desireline.running import DataFolder
from desireline.settings import Settings, as_environment

if TYPE_CHECKING:
    from sqlalchemy import Engine

_START_PATIENCE_S = 60.0
_LOCK_PATIENCE_S = 30.0
_AWAY = (
    "connection refused",
    "name or service not known",
    "no route to host",
    "timed out",
    "connection reset",
)


@contextlib.contextmanager
def asking(settings: Settings, data: Path | None = None, *, writing: bool = False) -> "Iterator[Engine]":
    """A connection to the warehouse for the time of one question.

    `data` names a data folder: the running `up` is asked, else its warehouse is opened as a child for as long
    as the question takes. Without it `warehouse_reader_url` or `warehouse_url` is asked; if neither is set, a
    pipeline that runs on `data_dir` goes before the default URL. NoWarehouse says which one did not answer.
    `writing`: as the user that may write.
    """
    with reading_url(settings, data, writing=writing) as url, said_clearly(url):
        from warehouse import connect

        engine = connect(url)
        try:
            yield engine
        finally:
            engine.dispose()


@contextlib.contextmanager
def said_clearly(url: str) -> Iterator[None]:
    """What the warehouse's client raises, as NoWarehouse in one sentence."""
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from sqlalchemy.exc import DBAPIError

    # it logs what it raises, too; where nobody listens to logs that would be a second line on the terminal
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    try:
        yield
    except BrokenPipeError:  # of our own output
        raise
    except (DBAPIError, ClickHouseError, OSError) as error:
        raise NoWarehouse(
            _reason(error), where=f"the warehouse at {_without_password(url)}", remedy=_remedy(error)
        ) from error


@contextlib.contextmanager
def reading_url(settings: Settings, data: Path | None = None, *, writing: bool = False) -> Iterator[str]:
    """The URL of that warehouse, as a read-only user where there is one; `writing`: as the one that may write."""
    if data is None:
        running = None
        if settings.warehouse_url == Settings().warehouse_url and not settings.warehouse_reader_url:
            running = DataFolder(settings.data).alive()
        if running:
            yield running.urls.warehouse if writing else running.urls.warehouse_reader
        else:
            yield settings.warehouse_url if writing else settings.reader_url
        return
    folder = DataFolder(data.expanduser().absolute())
    if running := folder.alive():
        yield running.urls.warehouse if writing else running.urls.warehouse_reader
        return
    if not folder.warehouse.is_dir():
        raise NoWarehouse(
            f'"{folder.path}" holds no warehouse',
            remedy="Give the folder that `desireline up --data` was given.",
        )
    with locked(folder, patience_s=_LOCK_PATIENCE_S), _opened(settings, folder) as url:
        yield url


@contextlib.contextmanager
def locked(folder: DataFolder, *, patience_s: float = 0) -> Iterator[BinaryIO]:
    """Hold the data folder alone. NoWarehouse after `patience_s` if someone else does.

    The system lets go of the lock when the process ends, however it ends.
    """
    deadline = time.monotonic() + patience_s
    with folder.lock.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NoWarehouse(
                        f'"{folder.path}" is in use by another desireline',
                        remedy="Try again when it has ended.",
                    ) from None
                time.sleep(0.1)
            else:
                break
        yield file


@contextlib.contextmanager
def _opened(settings: Settings, folder: DataFolder) -> Iterator[str]:
    """The warehouse of a stopped `up`, opened as a child."""
    from desireline.ports import free_port

    port = free_port()
    folder.logs.mkdir(exist_ok=True)
    log = folder.logs / "warehouse.log"
    environment = {**children.environment(), **as_environment(settings)}
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603  our own command line
            children.command("warehouse", "serve", "--data", str(folder.path), "--port", str(port)),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        )
    try:
        _await_ping(f"http://127.0.0.1:{port}/ping", child, log)
        yield f"http://127.0.0.1:{port}/desireline"
    finally:
        if child.poll() is None:
            children.end([psutil.Process(child.pid)], patience_s=20)
        child.wait()


def _await_ping(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    import httpx  # a tenth of what a question to a running warehouse would otherwise read in

    deadline = time.monotonic() + _START_PATIENCE_S
    with httpx.Client(timeout=2) as http:  # httpx.get would read in all certificates each time
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if http.get(url).status_code == 200:
                    return
            if child.poll() is not None:
                break
            time.sleep(0.05)
    raise NoWarehouse("the embedded warehouse does not start", remedy=f'"{log}" says why.')


def _reason(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip()
    for reason in _AWAY:  # the client wraps it four times
        if reason.lower() in said.lower():
            return f"it does not answer: {reason}"
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__


def _remedy(error: Exception) -> str:
    text = str(error)
    if "UNKNOWN_DATABASE" in text or "UNKNOWN_TABLE" in text:
        return "`desireline warehouse migrate` makes the tables."
    if _reason(error).startswith("it does not answer"):
        return "Start it (`desireline up`), or say where it is with DESIRELINE_WAREHOUSE_URL or --data."
    return "The SQL that was asked is shown by the answer's `.sql()`."


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"

"""The embedded warehouse: a ClickHouse server to its clients, the chDB engine inside, one process on one
folder.

To its clients it is a ClickHouse server on HTTP: queries, `param_*`, settings, formats, compressed bodies
both ways, exception codes, sessions, `/ping`. Its users are `default`, who may do everything, and `reader`,
who may read tables.

    python -P -m warehouse.embedded --path DIR --port 8123
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO

import uvicorn

from models.errors import DesirelineError
from warehouse.access import Limits
from warehouse.engine import Engine
from warehouse.http_interface import HttpInterface
from warehouse.refusals import DataFolderTaken, NotLoopback

__all__ = ["DataFolderTaken", "EmbeddedWarehouse", "Limits", "NotLoopback", "main", "serve"]

_ENDING_S = 10
_STARTING_S = 30


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; running queries get 10 s to end. 1: the folder or the port is taken."""
    parser = argparse.ArgumentParser(prog="warehouse.embedded", description="ClickHouse over HTTP, embedded.")
    parser.add_argument("--path", required=True, help="data folder")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond loopback a password is needed"
    )
    parser.add_argument("--password", default=os.environ.get("DESIRELINE_WAREHOUSE_PASSWORD", ""))
    parser.add_argument("--reader-password", default="")
    parser.add_argument(
        "--memory-bytes", type=int, default=Limits().memory_bytes, help="what one query may take"
    )
    said = parser.parse_args(arguments)
    try:
        serve(
            said.path,
            port=said.port,
            host=said.host,
            password=said.password,
            reader_password=said.reader_password,
            limits=Limits(memory_bytes=said.memory_bytes, reader_memory_bytes=said.memory_bytes // 2),
        )
    except DesirelineError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def serve(
    path: str,
    *,
    port: int,
    host: str = "127.0.0.1",
    password: str = "",
    reader_password: str = "",
    limits: Limits | None = None,
) -> None:
    """Serve the folder `path` until a signal. DataFolderTaken, NotLoopback; SystemExit if the port is
    taken.
    """
    if host not in ("127.0.0.1", "localhost", "::1") and not password:
        raise NotLoopback(
            f"the warehouse would listen on {host} without a password",
            remedy="Set DESIRELINE_WAREHOUSE_PASSWORD, or listen on 127.0.0.1.",
        )
    folder = Path(path).absolute()
    nothing = folder / "server" / "nothing"
    nothing.mkdir(parents=True, exist_ok=True)
    # a relative name where a table belongs would be looked for as a file in the working folder
    os.chdir(nothing)
    limits = limits or Limits()
    engine = Engine(str(folder), limits)
    application = HttpInterface(
        engine, password=password, reader_password=reader_password or password, limits=limits
    )
    uvicorn.run(
        application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        loop="uvloop",
        lifespan="on",
        timeout_graceful_shutdown=_ENDING_S,
        timeout_keep_alive=75,
    )


class EmbeddedWarehouse:
    """The server as a child process, for tests, benchmarks and one-off questions; `url` names our
    database.
    """

    def __init__(self, path: str | None = None, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="desireline-warehouse-") if path is None else None
        self.path = path or (self._own.name if self._own else "")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where our tables are, for `warehouse.connect`."""
        return f"http://127.0.0.1:{self.port}/desireline"

    @property
    def server_url(self) -> str:
        """The server itself, without a database."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self._process is None:
            raise RuntimeError("the warehouse is not running")
        return self._process.pid

    def __enter__(self) -> "EmbeddedWarehouse":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own:
            self._own.cleanup()

    def start(self) -> None:
        """Start and wait until it answers. DataFolderTaken with what it said if it does not come up."""
        self.port = self.port or _free_port()  # the same again after a stop: its clients know no other
        command = [sys.executable, "-P", "-m", "warehouse.embedded"]
        command += ["--path", self.path, "--port", str(self.port), *self._options]
        said = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody empties would stop it
        self._process = subprocess.Popen(command, stderr=said)  # noqa: S603
        try:
            self._await_ready(said)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        finally:
            said.close()

    def _await_ready(self, said: IO[bytes]) -> None:
        deadline = time.monotonic() + _STARTING_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                said.seek(0)
                raise DataFolderTaken(said.read().decode().strip() or "the warehouse ended without a word")
            try:
                with urllib.request.urlopen(f"{self.server_url}/ping", timeout=1):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.02)
        raise DataFolderTaken(f"the warehouse did not answer within {_STARTING_S} s", where=self.path)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: SIGTERM lets running queries finish, SIGKILL does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=2 * _ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())

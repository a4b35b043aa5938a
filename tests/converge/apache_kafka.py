"""Apache Kafka itself: one process that is broker and controller, from the jars that Maven fetches."""

import re
import shutil
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from desireline.ports import free_port
from models.errors import DesirelineError
from streams.embedded_broker import HOST, ready

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
LEAST_JAVA = 17
READY_WITHIN_S = 180.0
FETCH_WITHIN_S = 600.0


class NoKafka(DesirelineError):
    """This machine cannot run Apache Kafka."""


def version() -> str:
    """The version that `pom.xml` names."""
    found = ElementTree.parse(HERE / "pom.xml").find(".//{*}dependency/{*}version")  # noqa: S314  our own file
    assert found is not None
    assert found.text
    return found.text


def fetched() -> Path:
    """The folder of the jars, fetched by Maven where they are not there yet. NoKafka without Java or Maven."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoKafka(
                f'there is no "{program}" on this machine',
                remedy=f"Install a JDK of {LEAST_JAVA} or newer, and Maven.",
            )
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < LEAST_JAVA:
        raise NoKafka(f"Java is too old: {said.splitlines()[0]}", remedy=f"Install {LEAST_JAVA} or newer.")
    folder = CACHE / f"kafka-{version()}"
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        command = [
            "mvn", "--batch-mode", "--quiet", "--file", str(HERE / "pom.xml"), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={beside}",
        ]  # fmt: skip
        fetch = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_WITHIN_S)
        if fetch.returncode:
            raise NoKafka(f"Maven does not fetch Kafka's jars: {fetch.stdout[-500:]}{fetch.stderr[-500:]}")
        beside.rename(folder)
    return folder


class ApacheKafka:
    """A broker on loopback that keeps what it has over a kill: `with ApacheKafka(folder) as broker: …`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jars = fetched()
        self.port = free_port()
        self._controller_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> "ApacheKafka":
        self._folder.mkdir(parents=True)
        self._settings.write_text(self._properties())
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._settings)),
            check=True, capture_output=True,
        )  # fmt: skip
        self._log = (self._folder / "broker.log").open("wb")
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop(signal.SIGKILL)
        if self._log is not None:
            self._log.close()

    def start(self) -> None:
        """Start it on what it has, and wait until it answers. NoKafka if it does not."""
        self.process = subprocess.Popen(
            self._java("kafka.Kafka", str(self._settings)), stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready(self.bootstrap_servers):
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "broker.log").read_text(errors="replace")[-1500:]
                raise NoKafka(f"Apache Kafka did not start: {said}")
            time.sleep(0.2)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; what it has stays."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @property
    def _settings(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, main: str, *arguments: str) -> list[str]:
        log4j = HERE / "log4j2.properties"
        return [
            "java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={log4j}",
            "-cp", f"{self._jars}/*", main, *arguments,
        ]  # fmt: skip

    def _properties(self) -> str:
        controller = f"{HOST}:{self._controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self._folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 8_388_608,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
